"""Linear layers of the neurons that pruning left."""

from typing import Dict, NamedTuple, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Widths(NamedTuple):
    """The channels of a pruned linear layer.

    Args:
        in_features, in_kept: those that it takes, and those that it looks at
        out_features, out_kept: those that it gives, and those that it computes

    Examples:
        >>> from fairseq_lite.modules import Widths
        >>> Widths(in_features=64, in_kept=64, out_features=48, out_kept=12).out_kept
        12
    """

    in_features: int
    in_kept: int
    out_features: int
    out_kept: int


def pick(x: Tensor, channels: Optional[Tensor]) -> Tensor:
    """The channels: [kept] of x: [..., C]; all of them for None."""
    return x if channels is None else x.index_select(-1, channels)


def scatter(y: Tensor, channels: Optional[Tensor], width: int) -> Tensor:
    """y: [..., kept] at the channels: [kept] of [..., width], which is zero elsewhere; y itself for None."""
    if channels is None:
        return y
    return y.new_zeros(y.shape[:-1] + (width,)).index_copy(-1, channels, y)


class PrunedLinear(nn.Linear):
    """A linear layer of the neurons that pruning left: y[outputs] = W x[inputs] + b, and 0 in the rest of y.

    The buffer `inputs`: [in_kept] is there if some channels of x are not looked at, `outputs`: [out_kept] if some
    channels of y are zero.

    Args:
        widths: channels on both sides
        bias: whether there is a b

    Examples:
        >>> import torch
        >>> from fairseq_lite.modules import PrunedLinear, Widths
        >>> linear = PrunedLinear(Widths(in_features=64, in_kept=16, out_features=48, out_kept=48))
        >>> linear(torch.randn(2, 64)).shape, linear.weight.shape
        (torch.Size([2, 48]), torch.Size([48, 16]))
    """

    def __init__(self, widths: Widths, bias: bool = True):
        super().__init__(widths.in_kept, widths.out_kept, bias)
        self.in_features, self.out_features = widths.in_features, widths.out_features
        self.inputs: Optional[Tensor] = None
        self.outputs: Optional[Tensor] = None
        if widths.in_kept < widths.in_features:
            self._register("inputs", widths.in_kept)
        if widths.out_kept < widths.out_features:
            self._register("outputs", widths.out_kept)

    def _register(self, name: str, size: int) -> None:
        delattr(self, name)
        self.register_buffer(name, torch.arange(size))

    def reset_parameters(self) -> None:
        # fairseq may build a model, as for training from a checkpoint, of layers with nothing left
        if self.weight.numel() > 0:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in_features]; returns [..., out_features]."""
        y = F.linear(pick(x, self.inputs), self.weight, self.bias)
        return scatter(y, self.outputs, self.out_features)

    @torch.no_grad()
    def dense(self) -> nn.Linear:
        """The ordinary linear layer of the same outputs, with zeros for what is not looked at or not computed."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None).to(self.weight)
        linear.load_state_dict(dense_state(self.state_dict(), self.in_features, self.out_features))
        return linear

    def extra_repr(self) -> str:
        kept, of = tuple(self.weight.shape), (self.out_features, self.in_features)
        return f"in_features={kept[1]} of {of[1]}, out_features={kept[0]} of {of[0]}, bias={self.bias is not None}"


def dense(linear: nn.Linear) -> nn.Linear:
    """An ordinary linear layer of the same outputs; itself if it is one."""
    return linear.dense() if isinstance(linear, PrunedLinear) else linear


def dense_state(state: Dict[str, Tensor], in_features: int, out_features: int) -> Dict[str, Tensor]:
    """The state of an ordinary linear layer from that of a pruned one: weight, maybe bias, inputs and outputs."""
    weight, bias = state["weight"], state.get("bias")
    rows = state.get("outputs", torch.arange(out_features))
    columns = state.get("inputs", torch.arange(in_features))
    full = weight.new_zeros(out_features, in_features)
    full[rows.unsqueeze(1), columns] = weight
    if bias is None:
        return {"weight": full}
    return {"weight": full, "bias": bias.new_zeros(out_features).index_copy(0, rows, bias)}
