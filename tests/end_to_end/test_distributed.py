"""Data-parallel training."""

import subprocess

import torch


def test_two_processes_train_the_model_of_one(train, start, load, tmp_path):
    options = "--max-update 5 --dropout 0 --max-tokens 200 --ddp-backend legacy_ddp".split()
    meeting = f"file://{tmp_path / 'meeting'}"
    world = f"--distributed-world-size 2 --distributed-backend gloo --distributed-no-spawn --distributed-init-method {meeting}"
    ...
