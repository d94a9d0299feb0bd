"""The number of updates that the quick start trains for."""

import subprocess
from pathlib import Path

import pytest

STEPS = Path(__file__).parents[2] / "examples/quickstart/steps.sh"


@pytest.mark.parametrize("speed, updates", [("9.31", 2400), ("4.8", 2400), ("2.5", 1250), ("0.1", 300)])
def test_a_slow_machine_makes_fewer(speed, updates):
    log = f"INFO | train | epoch 001 | loss 9.1 | ups 99 | wpb 900\nINFO | train | epoch 002 | ups {speed} | lr 0.1\n"
    command = f"cd {STEPS.parents[2]} && source {STEPS} && updates_within 500 2400"
    process = subprocess.run(["bash", "-c", command], input=log, capture_output=True, text=True, check=True)
    assert int(process.stdout) == updates
