"""Training a model for the levels that it will be compressed to."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.tensors import as_rows, quantise


def quantised_parameters(model: nn.Module, scheme: Scheme) -> Dict[str, nn.Parameter]:
    """The parameters that compression by this scheme quantises, tied ones once."""
    return {name: p for name, p in model.named_parameters() if scheme.quantises(name, p) and p.any()}


def quantised_values(weight: Tensor, scheme: Scheme) -> Tensor:
    """The values, like weight, that compression would leave of it."""
    values = quantise(as_rows(weight).cpu(), scheme).decode()
    return values.view(weight.shape).to(weight)


class StraightThrough:
    """Passes run with quantised weights; the optimizer moves full ones, by the gradients that the quantised had.

    This is the straight-through estimator (Bengio, Leonard and Courville, 2013): rounding counts as the identity.
    """

    def __init__(self, model: nn.Module, scheme: Scheme):
        self.parameters = quantised_parameters(model, scheme)
        self.scheme = scheme

    @contextmanager
    def quantised(self) -> Iterator[None]:
        """Within, the model has quantised weights."""
        full = {name: parameter.data.clone() for name, parameter in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.data.copy_(quantised_values(parameter, self.scheme))
        try:
            yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data.copy_(full[name])

    def share_gradients(self) -> None:
        """Every weight keeps its gradient."""

    def project(self) -> None:
        """The optimizer's weights are as they should be."""


class TrainedCentroids:
    """Weights stay in the clusters that k-means found at first; only their centroids move (Han et al., ICLR 2016).

    The gradient of a centroid is spread evenly over its cluster, so that it moves as far as a weight would. Afterwards
    each weight is set to the mean of its cluster, which is what moving together comes to, whatever the optimizer. Exact
    zeros, as pruning leaves them, stay zeros. No state is needed to go on: weights of equal values are a cluster.
    """

    def __init__(self, model: nn.Module, scheme: Scheme):
        self.parameters = quantised_parameters(model, scheme)
        self.clusters: Dict[str, Tensor] = {}
        self.sizes: Dict[str, Tensor] = {}
        self.zeros: Dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            # on resuming they are clusters already, which rounding anew would move
            if len(parameter.data.unique()) > 2**scheme.bits + 1:
                parameter.data.copy_(quantised_values(parameter, scheme))
            values, clusters = parameter.data.unique(return_inverse=True)
            self.clusters[name] = clusters.flatten()
            self.sizes[name] = torch.bincount(self.clusters[name])
            self.zeros[name] = values.eq(0)

    @contextmanager
    def quantised(self) -> Iterator[None]:
        """The model always has quantised weights."""
        yield

    def share_gradients(self) -> None:
        """Give every weight the mean of its cluster's gradients."""
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                parameter.grad.copy_(self._means(name, parameter.grad))

    def project(self) -> None:
        """Set every weight to its cluster's mean."""
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self._means(name, parameter.data))

    def _means(self, name: str, values: Tensor) -> Tensor:
        # In double precision: data-parallel workers, which may add in different orders, have to agree.
        sums = torch.zeros(len(self.sizes[name]), dtype=torch.double, device=values.device)
        sums.index_add_(0, self.clusters[name], values.flatten().double())
        means = (sums / self.sizes[name]).masked_fill_(self.zeros[name], 0.0)
        return means[self.clusters[name]].view_as(values).to(values)


TRAINERS = {"linear": StraightThrough, "kmeans": TrainedCentroids}
