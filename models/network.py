"""From a `ModelSpec` to a network: stem, blocks in stages, head, and initial values (`initial`)."""

import importlib
import inspect
import random
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models import settings
from models.blocks import Block, Conv3x3, sequence
from models.initial import initialize
from models.joins import Highway, Merge, Spread, StreamBlock
from models.layouts import LAYOUTS, blocks_per_stage, misfit, patches
from models.parts import activation, norm_layer
from models.spec import PLACEMENTS, Architecture, ModelSpec, stream
from models.tokens import Patches


class Network(nn.Module):
    """Stem, a flat list of blocks, final operations, head.

    The list is flat and walked by a loop, so that a thousand layers neither nest nor recurse.

    Attributes:
        stages: Number of blocks in each stage.
        dense: Whether channels are the last dimension between the blocks (N x units, N x T x C).

    Shapes: N x C x H x W to N x classes.

    Raises:
        ValueError: The architecture cannot be built in the layout, or images cannot be cut into its patches.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        row, architecture = LAYOUTS[spec.layout], spec.architecture
        if reason := misfit(architecture, spec.layout):
            raise ValueError(reason)
        self.stages = blocks_per_stage(spec.layout, spec.depth)
        layers, expansion = row.layers(spec.depth), row.expansion(spec.depth)
        self.dense, tokens = not row.convolutional, row.stem == "patches"
        self.stem = _stem(spec)
        self.blocks = nn.ModuleList()
        c_in = spec.width
        left = spec.depth - 2
        for stage, count in enumerate(self.stages):
            channels = spec.width * (1 if self.dense else 2**stage)
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                self.blocks.append(
                    _block(architecture, c_in, channels, channels * expansion, stride, min(layers, left), self.dense,
                           len(self.blocks), sum(self.stages), tokens)
                )  # fmt: skip
                c_in, left = channels * expansion, left - layers
        # A fully connected net needs a normalisation before its head: the residual sum grows with depth.
        final = _placement_final(architecture) or (("norm",) if row.stem == "dense" else ())
        self.final = sequence(architecture, final, c_in, self.dense)
        if "streams" in architecture.join:
            self.stem.add_module("spread", Spread())
            self.final = nn.Sequential(OrderedDict[str, nn.Module](merge=Merge(), **dict(self.final.named_children())))
        self.head = nn.Linear(c_in, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.read(x)

    def read(self, x: Tensor) -> Tensor:
        """Logits (N x classes) of what the last block gives: final operations, mean over map or tokens, head."""
        logits: Tensor = self.head(pooled(self.final(x)))
        return logits

    def stage_of(self) -> list[int]:
        """The stage of each block, counted from 0."""
        return [stage for stage, count in enumerate(self.stages) for _ in range(count)]


def pooled(x: Tensor) -> Tensor:
    """The mean over a map (N x C x H x W) or over tokens (N x T x C), N x C; vectors as they are."""
    return x.mean((2, 3)) if x.dim() == 4 else x.mean(1) if x.dim() == 3 else x


def _placement_final(architecture: Architecture) -> tuple[str, ...]:
    return () if architecture.factory else PLACEMENTS[architecture.placement].final


def _stem(spec: ModelSpec) -> nn.Sequential:
    architecture, width, kind = spec.architecture, spec.width, LAYOUTS[spec.layout].stem
    channels, height, side = spec.image
    made = OrderedDict[str, nn.Module]()
    if kind == "patches":
        made["patches"] = Patches(channels, width, *patches(spec.layout, spec.image))
        return nn.Sequential(made)
    if kind == "dense":
        made["flatten"] = nn.Flatten()
        made["conv"] = nn.Linear(channels * height * side, width, bias=architecture.conv_bias)
    elif kind == "7x7":
        made["conv"] = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=architecture.conv_bias)
    else:
        made["conv"] = Conv3x3(channels, width, bias=architecture.conv_bias)
    made["norm"] = norm_layer(architecture, width, kind == "dense")
    made["act"] = activation(architecture)
    if kind == "7x7":
        made["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(made)


_BLOCKS: dict[str, type[Block | Highway | StreamBlock]] = {
    "sum": Block,
    "gate": Highway,
    "streams": StreamBlock,
    "balanced streams": StreamBlock,
}


def _block(
    architecture: Architecture, c_in: int, channels: int, c_out: int, stride: int, layers: int, dense: bool,
    index: int, blocks: int, tokens: bool,
) -> nn.Module:  # fmt: skip
    if not architecture.factory:
        kind = _BLOCKS[architecture.join]
        return kind(architecture, c_in, channels, c_out, stride, layers, dense, index, blocks, tokens)
    function = load_factory(architecture.factory)
    named = {"in_channels": c_in, "out_channels": c_out, "stride": stride}
    if _takes(function, **named):
        made = function(**named)
    elif _takes(function, *named.values()) and _in_order(function, list(named)):
        made = function(*named.values())
    else:
        words = "must take in_channels, out_channels and stride, by these names or in this order"
        raise ValueError(f"{architecture.factory}{inspect.signature(function)!s:.120} {words}; a whole network: spec")
    if not isinstance(made, nn.Module):
        raise ValueError(f"{architecture.factory} must return a torch.nn.Module, not {type(made).__name__}")
    return made


def _takes(function: Callable[..., object], *values: int, **named: int) -> bool:
    """Whether a function can be called so."""
    try:
        inspect.signature(function).bind(*values, **named)
    except TypeError:
        return False
    return True


def _in_order(function: Callable[..., object], names: list[str]) -> bool:
    """Whether those of our names that a function has stand at our places: else a call by position would mix them up."""
    own = list(inspect.signature(function).parameters)
    return all(own.index(name) == place for place, name in enumerate(names) if name in own)


def load_factory(name: str) -> Callable[..., object]:
    """Imports a user's own function, "package.module:function".

    Raises:
        ValueError: No such module or function, or it cannot be called; one line.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything while it loads
        raise ValueError(f"cannot load architecture {name!r}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ValueError(f"cannot load architecture {name!r}: it is not a function")
    return found  # type: ignore[no-any-return]


def build(spec: ModelSpec, seed: int = 0, device: torch.device | str = "cpu") -> nn.Module:
    """Builds and initialises a network.

    Args:
        spec: What to build.
        seed: Of the initial weights.
        device: Where to; "meta" allocates nothing and draws nothing.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: A depth that the layout cannot have, or a user's own function that cannot be used.
    """
    if spec.architecture.factory:
        with torch.device("meta" if str(device) == "meta" else "cpu"):
            return _build_own(spec, seed).to(device)
    if str(device) == "meta":
        with torch.device("meta"):
            return Network(spec)
    # Not by way of "meta": the first `to_empty` of a process imports for two seconds.
    with torch.random.fork_rng(devices=[]):
        network = Network(spec)
    initialize(network, spec.architecture, seed)
    return network.to(device)


def _build_own(spec: ModelSpec, seed: int) -> nn.Module:
    """A user's own blocks keep the initial values that their code gives them, drawn from the trial's seed."""
    with settings.kept():
        function = load_factory(spec.architecture.factory)
    random.seed(stream(seed, "own, python"))  # what blocks draw in training goes on from here
    np.random.seed(stream(seed, "own, numpy") % 2**32)
    with settings.kept():
        torch.manual_seed(stream(seed, "own"))
        whole = "spec" in inspect.signature(function).parameters
        made = function(spec=spec) if whole else Network(spec)
        if not isinstance(made, nn.Module):
            raise ValueError(f"{spec.architecture.factory} must return a torch.nn.Module, not {type(made).__name__}")
        if any(isinstance(each, torch.jit.ScriptModule) for each in made.modules()):
            # Their classes are hidden, and BatchNorm's statistics could not be re-estimated before a net is judged.
            raise ValueError(f"{spec.architecture.factory}: torch.jit hides its layers; return it as it was before")
        if any(nn.parameter.is_lazy(each) for each in (*made.parameters(), *made.buffers())):
            with torch.no_grad():  # lazy layers take their shapes from what they see first; nothing else changes
                made.eval()(torch.zeros(2, *spec.image))
            made.train()
    return made
