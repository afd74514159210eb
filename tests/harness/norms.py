"""What fused norms compute against torch's own in float64: on a card, or in Triton's interpreter (`interpreted`)."""

from importlib import metadata
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.torch_version import TorchVersion

from bench.train.fused import batch_norm


class Case(NamedTuple):
    """One input.

    Attributes:
        shape: N, C, H, W.
        bf16: Maps in bf16 instead of float32.
        offset: Mean of each channel, in its deviations.
        twice: Whether what is there for a second use has a gradient, too.
    """

    shape: tuple[int, int, int, int]
    bf16: bool = True
    relu: bool = True
    added: bool = True
    offset: float = 0.0
    twice: bool = True

    def __str__(self) -> str:
        words = [*["relu"] * self.relu, *["added"] * self.added, *[f"mean {self.offset:g}"] * bool(self.offset)]
        words += [] if self.twice else ["once"]
        return " ".join(["x".join(map(str, self.shape)), "bf16" if self.bf16 else "fp32", *words])


_KINDS = [{"relu": relu, "added": added, "twice": twice} for relu, added, twice in product((False, True), repeat=3)]
# Two rows, one channel; channels that fill no block, and several blocks; rows that fill no chunk, and several parts.
FEW = [
    *(Case((5, 24, 7, 3), False, **kind) for kind in _KINDS),
    *(Case((5, 24, 7, 3), True, relu, added) for relu, added in product((False, True), repeat=2)),
    *(Case(shape, bf16) for bf16 in (False, True) for shape in
      ((2, 8, 1, 1), (2, 1, 1, 1), (60, 16, 1, 1), (2, 70, 5, 5), (4, 16, 12, 11))),
    *(Case((9, 24, 6, 6), False, added=added, offset=offset) for added in (False, True) for offset in (100.0, 1000.0)),
    Case((9, 24, 6, 6), True, offset=100.0),
]  # fmt: skip
# More chunks than parts, and a last part of a few rows, where a table has room for four parts.
SMALL_TABLE, IN_PARTS = 256, Case((5, 64, 9, 9), False, offset=1000.0)
# And the shapes of real nets.
CASES = [
    *FEW,
    *(Case(shape, bf16, True, added, twice=added) for bf16 in (False, True) for added in (False, True) for shape in
      ((128, 16, 32, 32), (128, 32, 16, 16), (128, 64, 8, 8), (77, 16, 31, 31), (64, 512, 4, 4), (16, 2048, 7, 7))),
    Case((512, 16, 32, 32)), Case((128, 16, 32, 32), False, offset=1000.0),
]  # fmt: skip


def hindrance() -> str:
    """Why Triton's interpreter cannot be used here, in one line; empty where it can."""
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:
        return "this torch has no Triton"
    old = TorchVersion(version) < "3.9"  # 3.6 was seen to fail
    return f"the interpreter of Triton {version} fails in loops with NumPy 2.4" if old else ""


def errors(case: Case, device: str) -> dict[str, float]:
    """The worst error of each quantity over its bound: 1 or less where all is well, NaN where a value is none.

    A bound is a rounding to the map's type, and a few of float32: those of a mean count by its size in deviations.
    Where ReLU lets nothing through is taken from the result itself, which is held against torch's first.
    """
    kind = torch.bfloat16 if case.bf16 else torch.float32
    norm, x, shortcut, gradient, second = _made(case, kind)
    mine = [t.to(device, copy=True).requires_grad_() for t in (x, shortcut)]
    ours = nn.BatchNorm2d(case.shape[1]).to(device)
    ours.load_state_dict(norm.state_dict())
    y, beside = batch_norm(mine[0], ours, mine[1] if case.added else None, case.relu)
    given = [(y, gradient.to(device)), (beside, second.to(device))][: 1 + case.twice]
    torch.autograd.backward(*zip(*given, strict=True))

    norm, x, shortcut, gradient = norm.double(), x.double().requires_grad_(), shortcut.double(), gradient.double()
    second = second.double() * case.twice
    gradient = gradient + second * case.added
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    out = F.batch_norm(x, mean, var, norm.weight, norm.bias, True, 0.1, norm.eps)
    out = out + shortcut if case.added else out
    let = gradient * (y.detach().cpu() > 0) if case.relu else gradient
    out.backward(let)
    assert x.grad is not None
    x.grad += second * (not case.added)
    expected = (out.relu() if case.relu else out).detach()

    with torch.no_grad():
        centre, spread = x.mean((0, 2, 3)), (x.var((0, 2, 3), correction=0) + norm.eps).sqrt()
        normal = (x - _wide(centre)) / _wide(spread)
        one, weight = 2.0**-8 if case.bf16 else 2.0**-22, norm.weight.abs()
        # Of float32: what sums lose, and what the mean's own rounding takes from each deviation.
        lost = 2.0**-20 + 2.0**-23 * centre.abs() / spread
        size = _wide(weight) * (1 + normal.abs()) + _wide(norm.bias.abs()) + shortcut.abs()
        through, along = let.abs().sum((0, 2, 3)), (let.abs() * (1 + normal.abs())).sum((0, 2, 3))
        rows = x.numel() / x.shape[1]
        terms = let.abs() + _wide(through) / rows + (1 + normal.abs()) * _wide(along) / rows
        # What two gradients sum up to is rounded once before it is used.
        written = one * case.added * case.twice * _wide(weight / spread) * let.abs()
        found = {
            "result": (y, expected, one * expected.abs() + _wide(lost) * size),
            "input's gradient": (
                mine[0].grad,
                x.grad,
                one * x.grad.abs() + written + _wide(lost * weight / spread) * terms,
            ),
            "weight's gradient": (ours.weight.grad, norm.weight.grad, lost * along),
            "bias's gradient": (ours.bias.grad, norm.bias.grad, lost * through),
            "running mean": (ours.running_mean, mean, 2.0**-20 * (centre.abs() + norm.running_mean.abs())),
            "running variance": (ours.running_var, var, 2.0**-19 * (spread**2 + norm.running_var)),
        }
        if case.added:
            found["shortcut's gradient"] = (mine[1].grad, let, one * let.abs())
        return {
            name: float(((a.cpu().double() - b).abs() / (bound + 1e-30)).max()) for name, (a, b, bound) in found.items()
        }


def _made(case: Case, kind: torch.dtype) -> tuple[nn.BatchNorm2d, Tensor, Tensor, Tensor, Tensor]:
    """A norm, an input, what is added, and the gradients of both results."""
    draw = torch.Generator().manual_seed(sum(case.shape))
    channels = case.shape[1]
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_(generator=draw)
        norm.running_var.uniform_(0.5, 2, generator=draw)
        deviation = torch.rand(channels, 1, 1, generator=draw) + 0.5
        maps = [torch.randn(case.shape, generator=draw) for _ in range(4)]
    maps[0] = (maps[0] + case.offset) * deviation
    return norm, *(m.to(kind, memory_format=torch.channels_last) for m in maps)


def _wide(t: Tensor) -> Tensor:
    return t[:, None, None]
