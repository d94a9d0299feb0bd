import pytest
import torch

import fairseq_lite  # noqa: F401  registers the architectures


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)
