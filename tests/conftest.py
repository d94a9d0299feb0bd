import logging

import pytest
import torch

import fairseq_lite  # noqa: F401  registers the architectures

# Files and folders of tests that take longest.
LONG = ("end_to_end", "bad_inputs", "test_shrink.py", "test_browser.py", "test_notebook.py")


def pytest_collection_modifyitems(config, items):
    """Of two workers none is left alone with a long file, for these come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(part in LONG for part in item.path.parts))


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
