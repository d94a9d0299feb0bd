"""What the tests read out of a process or a checkpoint."""

import re

import torch


def bleu(output):
    return float(re.search(r"BLEU4? = (\d+\.\d+)", output)[1])


def perplexity(output):
    return float(re.search(r"Perplexity: (\S+)", output.stdout + output.stderr)[1])


def assert_one_line(process, *parts):
    """The process ended on a user's mistake, and what it says of that is one line with all parts in it."""
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    complaints = [line for line in process.stderr.splitlines() if "error: " in line]
    assert len(complaints) == 1, process.stderr
    for part in parts:
        assert part in complaints[0]


def learnt(names):
    """Without what fairseq 0.12.2 saves uninitialised."""
    return [name for name in names if not name.endswith("._float_tensor")]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name in learnt(first):
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0, msg=name)
