"""Blocks whose BatchNorm, addition and ReLU are one operator, with two kernels forward and two backward (`kernels`).

Fewer launches than a compiled block: Inductor splits each reduction and writes statistics apart. A block's modules stay
what they are; only its forward pass is another (`graph.fuse_blocks`).

The sum of branch and shortcut is rounded once, after ReLU. Torch's own operators round to bf16 after BatchNorm and
after the addition as well; a compiled block rounds once, too.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.blocks import Block, Conv1x1, Conv3x3, Shortcut

LAYERS = (nn.Conv2d, Conv1x1, Conv3x3, nn.BatchNorm2d, nn.ReLU)

# A module, None for the addition; whether the addition, and whether a ReLU, go with it.
Part = tuple[nn.Module | None, bool, bool]


def batch_norm(
    x: Tensor, norm: nn.BatchNorm2d, shortcut: Tensor | None = None, relu: bool = False
) -> tuple[Tensor, Tensor]:
    """What `norm` does in training, then the addition of `shortcut` and ReLU where asked for.

    Args:
        x: N x C x H x W, in float32 or bf16; channels last, or it is copied.
        norm: With weight, bias and running statistics in float32, and a momentum.
        shortcut: As `x`.

    Returns:
        The result, as `x` and channels last; and for a second use, whose gradient is then summed up in these kernels
        and not by autograd in one of its own: the result again where `shortcut` was added, else `x` again.

    Raises:
        ValueError: One value per channel, as torch has it.
        RuntimeError: There is no Triton, or a kernel cannot be compiled or launched.
    """
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.size()}")
    found: tuple[Tensor, Tensor] = triton_batch_norm.apply(x, norm.weight, norm.bias, shortcut, norm, relu)
    return found


class triton_batch_norm(torch.autograd.Function):  # noqa: N801
    """By this name a profile takes its kernels for BatchNorm's, of its block's stage (`bench.cost.operators`)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, shortcut: Tensor | None, norm: nn.BatchNorm2d, relu: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # most have no second use
        ctx.relu, ctx.added = relu, shortcut is not None
        maps, side = _last(x), None if shortcut is None else _last(shortcut)
        y, saved = _kernels().forward(
            maps, weight, bias, side, norm.running_mean, norm.running_var, norm.momentum, norm.eps, relu
        )
        # The next layer keeps the result for itself: to keep it here as well costs no memory.
        ctx.save_for_backward(maps, weight, bias, saved, y if relu and ctx.added else None)
        return y, y.detach() if ctx.added else x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, beside: Tensor | None) -> tuple[Tensor | None, ...]:
        given = torch.zeros_like(ctx.saved_tensors[0]) if gradient is None else _last(gradient)
        also = None if beside is None else _last(beside)
        of_x, of_weight, of_bias, passed = _kernels().backward(given, also, *ctx.saved_tensors, ctx.added, ctx.relu)
        return of_x, of_weight, of_bias, passed if ctx.added else None, None, None


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _kernels() -> Any:
    try:
        from bench.train import kernels
    except ImportError as error:
        raise RuntimeError(f"fused blocks need Triton: {error}") from None
    return kernels


class Fused:
    """A block's forward pass with its norms fused; in evaluation, or with a norm that is frozen, the block's own.

    Args:
        block: One that `known` knows.
    """

    def __init__(self, block: Block) -> None:
        shortcut = block.shortcut
        self._before = _parts(block.before)
        self._rest = _parts([*block.branch, *([] if shortcut is None else [None]), *block.after])
        self._shortcut = _parts(shortcut if isinstance(shortcut, nn.Sequential) else [shortcut])
        self._norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]

    def __call__(self, block: Block, x: Tensor) -> Tensor:
        if not (block.training and all(norm.training for norm in self._norms)):
            return type(block).forward(block, x)
        # A map that goes two ways, into a branch and past it, comes as two tensors (see `batch_norm`).
        past = getattr(x, "beside", x)
        y, through = _run(self._before, x)
        past = past if through is None else through
        side = y if block.shares and self._before else past
        out, beside = _run(self._rest, y, lambda: _run(self._shortcut, side)[0])
        if self._rest[-1][1]:
            out.beside = beside  # type: ignore[attr-defined]
        return out


def known(block: nn.Module) -> bool:
    """Whether a block is made of convolutions, BatchNorm and ReLU only, and its shortcut of no more than a projection.

    All others are left as they are, among them a user's own.
    """
    if type(block) is not Block:
        return False
    shortcut = block.shortcut
    on_it = [*shortcut] if isinstance(shortcut, nn.Sequential) else [shortcut]
    layers = [*block.before, *block.branch, *block.after]
    return (
        len(_parts(block.before)) <= 1
        and all(type(m) in LAYERS and _usual(m) for m in layers)
        and all(m is None or (type(m) in (*LAYERS, Shortcut) and _usual(m)) for m in on_it)
        and any(isinstance(m, nn.BatchNorm2d) for m in layers)
    )


def _usual(module: nn.Module) -> bool:
    """Whether a module's class and a few attributes say all that it does in training."""
    if isinstance(module, Shortcut):
        return module.scale == 1.0 and not module.dropout
    if not isinstance(module, nn.BatchNorm2d):
        return True
    whole = module.affine and module.track_running_stats and module.num_batches_tracked is None
    return whole and module.momentum is not None and not (module._forward_hooks or module._forward_pre_hooks)


def _parts(modules: Iterable[nn.Module | None]) -> list[Part]:
    """Modules in order, each norm with the addition and the ReLU that follow it."""
    left, parts = list(modules), list[Part]()
    while left:
        module, added, relu = left.pop(0), False, False
        if isinstance(module, nn.BatchNorm2d):
            if added := left[:1] == [None]:
                left.pop(0)
            if relu := bool(left) and isinstance(left[0], nn.ReLU):
                left.pop(0)
        parts.append((module, added, relu))
    return parts


def _run(parts: list[Part], x: Tensor, shortcut: Callable[[], Tensor] | None = None) -> tuple[Tensor, Tensor | None]:
    """The last part's output, and what a norm gives for a second use."""
    beside = None
    for module, added, relu in parts:
        beside = None
        if isinstance(module, nn.BatchNorm2d):
            x, beside = batch_norm(x, module, shortcut() if shortcut and added else None, relu)
        elif module is not None:
            x = module(x)
        elif shortcut:
            x = x + shortcut()
    return x, beside
