"""Small parts of blocks: normalisations, and what a branch is multiplied by before it joins its shortcut.

Each holds its own initial values; `network.initialize` draws those of convolutions and linear layers only.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.spec import SCALES, Architecture, unknown

# Channels of one group: one of the numbers in Wu and He 2018, table 3. Nets of fewer channels have one group.
GROUP = 16

# Dey et al. 2025 scale relative to a base depth, where the factor is 1: here the 18-layer net, the ladder's shallowest.
BASE_BLOCKS = 8

# Huang et al. 2016, section 3: the probability of the last block; it falls linearly from 1.
LAST_SURVIVAL = 0.5


class Bias(nn.Module):
    """Adds one learnt number, 0 at the start, to every element (Zhang et al. 2019, Fixup, section 3.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Gain(nn.Module):
    """Multiplies by learnt numbers: one for all, or one per channel.

    Args:
        start: Their value at the start.
        channels: How many channels; 0 for one number.
        dense: Whether channels are the last dimension (N x C, N x T x C), not the second (N x C x H x W).
    """

    def __init__(self, start: float, channels: int = 0, dense: bool = False) -> None:
        super().__init__()
        shape = (1,) if not channels else (channels,) if dense else (channels, 1, 1)
        self.weight = nn.Parameter(torch.full(shape, start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Times(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class Survival(nn.Module):
    """Keeps a branch with this probability, for a whole batch; in evaluation it counts by it (Huang et al. 2016).

    A branch that is dropped is computed all the same, times zero: one kind of step serves every batch, and a CUDA
    graph can hold it. So the paper's saving of time is not to be had here.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * self.probability
        return x * (torch.rand((), device=x.device) < self.probability).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class RMSNorm(nn.Module):
    """Divides by the root mean square of an image's maps, with a gain per channel (Zhang and Sennrich 2019).

    Shapes: N x C x H x W to the same. All of C, H and W count, as for LayerNorm beside it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[1:], eps=1e-5) * self.weight


def norm_layer(architecture: Architecture, channels: int, dense: bool) -> nn.Module:
    """The row's normalisation for maps or vectors.

    "layer" takes an image's mean and variance over channels and positions: group normalisation with one group (Wu and
    He 2018, section 3.1). "bias" is Fixup's scalar in the place of one.

    Raises:
        ValueError: Another normalisation is asked for.
    """
    norm = architecture.norm
    if norm == "none":
        return nn.Identity()
    if norm == "bias":
        return Bias()
    if norm == "layer":
        return nn.LayerNorm(channels) if dense else nn.GroupNorm(1, channels)
    if norm == "rms":
        return nn.RMSNorm(channels, eps=1e-5) if dense else RMSNorm(channels)
    if norm == "group":
        return nn.GroupNorm(channels // GROUP if channels % GROUP == 0 else 1, channels)
    if norm != "batch":
        raise ValueError(unknown("norm", norm, ("batch", "layer", "rms", "group", "bias", "none")))
    batch = nn.BatchNorm1d(channels) if dense else nn.BatchNorm2d(channels)
    # Only an average over all batches (momentum None) would read this counter; to count costs one kernel of eight
    # per layer on a GPU, and 3 % of a step on a CPU.
    batch.num_batches_tracked = None
    batch.register_load_state_dict_pre_hook(_without_counter)  # type: ignore[no-untyped-call]
    return batch


def _without_counter(norm: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A state dict may hold the counter, and torch adds it to one that is a plain dict: here nobody reads it."""
    state.pop(f"{prefix}num_batches_tracked", None)


_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "swish": nn.SiLU, "gelu": nn.GELU}


def activation(architecture: Architecture) -> nn.Module:
    """The row's nonlinearity. Not in place: a block's input is also its shortcut's.

    Raises:
        ValueError: Another activation is asked for.
    """
    if architecture.activation not in _ACTIVATIONS:
        raise ValueError(unknown("activation", architecture.activation, _ACTIVATIONS))
    return _ACTIVATIONS[architecture.activation]()


def scale(architecture: Architecture, channels: int, dense: bool, index: int, blocks: int) -> nn.Module | None:
    """What the row multiplies a branch by, or None where nothing does.

    Args:
        architecture: The row; see `spec.SCALES`.
        channels: Of the branch's output.
        dense: Whether it is N x C.
        index: The block's place, from 0.
        blocks: How many the network has.

    Raises:
        ValueError: Another scale is asked for.
    """
    kind = architecture.scale
    if kind == "none":
        return None
    if kind == "gain":
        return Gain(0.0 if architecture.zero_last else 1.0)
    if kind == "channel-gain":
        return Gain(_layer_scale(blocks), channels, dense)
    if kind == "1/sqrt(blocks)":
        return Times(1 / math.sqrt(blocks))
    if kind == "base/blocks":
        return Times(BASE_BLOCKS / blocks)
    if kind == "survival":
        return Survival(1 - (index + 1) / blocks * (1 - LAST_SURVIVAL))
    raise ValueError(unknown("scale", kind, SCALES))


def _layer_scale(blocks: int) -> float:
    """Touvron et al. 2021: 0.1 up to depth 18, 1e-5 at 24, 1e-6 deeper, where a depth of theirs is two branches."""
    return 0.1 if blocks <= 36 else 1e-5 if blocks <= 48 else 1e-6
