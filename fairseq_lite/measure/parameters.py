"""Parameter counts; a parameter shared by several modules counts once."""

import torch.nn as nn
from fairseq.modules import AdaptiveInput, CharacterTokenEmbedder

EMBEDDINGS = (nn.Embedding, AdaptiveInput, CharacterTokenEmbedder)


def count_parameters(*modules: nn.Module) -> int:
    """The parameters of some modules together; one that they share counts once.

    Args:
        modules: of torch

    Examples:
        >>> import torch
        >>> from fairseq_lite import count_parameters
        >>> count_parameters(torch.nn.Linear(64, 32))
        2080
    """
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())


def count_parameters_without_embeddings(model: nn.Module) -> int:
    """All parameters but the embedding tables and what is tied to them."""
    embeddings = [module for module in model.modules() if isinstance(module, EMBEDDINGS)]
    return count_parameters(model) - count_parameters(*embeddings)
