import logging

import pytest
import torch

import fairseq_lite  # noqa: F401  registers the architectures


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)


@pytest.fixture(autouse=True)
def logs_as_they_were():
    """A command of fairseq that runs in a test leaves no handler behind, whose captured stream is closed by then."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
