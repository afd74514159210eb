"""A step's weights in bf16, cast all at once, and their gradients brought back to float32 all at once.

Autocast casts each weight in each forward pass and its gradient in each backward pass: two kernels per layer, four
with a bias. Here each way is one call for the whole network. The numbers are the same bit for bit.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.blocks import Conv1x1, Conv3x3

# Layers whose weight and bias autocast casts whole, and that use them for nothing else. No classes derived from them.
LAYERS = (nn.Conv2d, nn.Linear, Conv1x1, Conv3x3)


class CastWeights:
    """Lends the layers of a network bf16 copies of their parameters.

    A layer keeps autocast's way where a parameter could be used by anything but its own forward pass, called once: one
    that stands in two places, shares a parameter, has hooks, or a forward pass of its own. So do all other modules.

    Not for a CPU's nets with 2x2 maps: `Conv3x3` takes its weight apart there, and autocast casts the parts.

    Args:
        network: One of the suite's own, with float32 parameters that are the same objects at every step.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = [module for _, module in network.named_modules(remove_duplicate=False)]
        uses = Counter(id(p) for module in modules for p in module._parameters.values())
        self._places: list[tuple[dict[str, Any], str]] = []
        self.parameters: list[Tensor] = []
        for module in modules:
            own = {name: p for name, p in module._parameters.items() if p is not None}
            alone = all(uses[id(p)] == 1 and p.dtype == torch.float32 and p.requires_grad for p in own.values())
            if type(module) in LAYERS and alone and not _altered(module):
                self._places += [(cast(dict[str, Any], module._parameters), name) for name in own]
                self.parameters += own.values()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within, the layers compute with the copies, and gradients reach the parameters themselves.

        For forward passes and their backward passes, which may run a block once more (checkpointing). The copies are
        made at the entry, so that they are never older than the weights, and nothing of them is left at the exit.
        """
        copies = _Cast.apply(*self.parameters) if self.parameters else ()
        try:
            for (held, name), copy in zip(self._places, copies, strict=True):
                held[name] = copy
            yield
        finally:
            for (held, name), parameter in zip(self._places, self.parameters, strict=True):
                held[name] = parameter


def _altered(module: nn.Module) -> bool:
    """Whether something beside its class says what a module does."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks) or "forward" in vars(module)


class _Cast(torch.autograd.Function):
    """All parameters to bf16, and all their gradients to float32."""

    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a parameter that took no part must have no gradient, not zeros
        return tuple(_converted(parameters, torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = iter(_converted([g for g in gradients if g is not None], torch.float32))
        return tuple(None if g is None else next(found) for g in gradients)


def _converted(tensors: Any, dtype: torch.dtype) -> list[Tensor]:
    """In the layout of each: else it would be one kernel for each tensor."""
    made = [torch.empty_like(t, dtype=dtype) for t in tensors]
    torch._foreach_copy_(made, list(tensors))
    return made
