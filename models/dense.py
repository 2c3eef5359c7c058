"""Products with matrices that stay, as fast as the processor does them.

torch gives float32 products on a CPU to MKL, which on processors of other makers than its own works with half of their
width. oneDNN, which torch carries too, uses all of it, and is reached by the operator that torch's own compiler uses.
Where it is not there, and for products too small to pay its way in, things stay as they were.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

_PACKED_FOR: Final = 32  # rows; others fare as well
_WORTH: Final = 4096  # numbers out, below which the way into oneDNN takes more than it saves


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


class Dense(nn.Module):
    """x @ weight.T + bias, for inference on a CPU in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` [outputs, inputs] must not change any more; `bias` [outputs]."""
        super().__init__()
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self._packed: Any = None
        # So many numbers in make it worth while; never a single row.
        self._from = weight.shape[1] * max(2, -(-_WORTH // max(weight.shape[0], 1)))
        if _has_onednn():
            with torch.inference_mode():
                self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, _PACKED_FOR)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x [..., inputs]. Returns: [..., outputs]."""
        if self._packed is None or x.numel() < self._from:
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out


def quickened(module: nn.Module) -> nn.Module:
    """The same module, for inference on a CPU: every `nn.Linear` in it has become a `Dense`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Dense(child.weight, child.bias))
        else:
            quickened(child)
    return module.eval()
