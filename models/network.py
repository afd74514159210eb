"""From a `ModelSpec` to a network: stem, blocks in stages, head, and initial values.

Initial values come from (seed, the parameter's name), so twins that differ in their shortcut start from the
same weights wherever names and shapes agree, whatever the order in which networks are built.
"""

import importlib
import inspect
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from models import settings
from models.blocks import Block, Conv3x3, sequence, weighted, zero_branch
from models.joins import GATE_BIAS, Highway, Merge, Spread, StreamBlock
from models.parts import activation, norm_layer
from models.spec import LAYOUTS, PLACEMENTS, Architecture, ModelSpec, blocks_per_stage, stream


class Network(nn.Module):
    """Stem, a flat list of blocks, final operations, head.

    The list is flat and walked by a loop, so that a thousand layers neither nest nor recurse.

    Attributes:
        stages: Number of blocks in each stage.

    Shapes: N x C x H x W to N x classes.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        row, architecture = LAYOUTS[spec.layout], spec.architecture
        self.stages = blocks_per_stage(spec.layout, spec.depth)
        layers, expansion = row.layers(spec.depth), row.expansion(spec.depth)
        self.dense = row.stem == "dense"
        self.stem = _stem(architecture, row.stem, spec.image, spec.width)
        self.blocks = nn.ModuleList()
        c_in = spec.width
        left = spec.depth - 2
        for stage, count in enumerate(self.stages):
            channels = spec.width * (1 if self.dense else 2**stage)
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                self.blocks.append(
                    _block(architecture, c_in, channels, channels * expansion, stride, min(layers, left), self.dense,
                           len(self.blocks), sum(self.stages))
                )  # fmt: skip
                c_in, left = channels * expansion, left - layers
        # A fully connected net needs a normalisation before its head: the residual sum grows with depth.
        final = _placement_final(architecture) or (("norm",) if self.dense else ())
        self.final = sequence(architecture, final, c_in, self.dense)
        if "streams" in architecture.join:
            self.stem.add_module("spread", Spread())
            self.final = nn.Sequential(OrderedDict[str, nn.Module](merge=Merge(), **dict(self.final.named_children())))
        self.head = nn.Linear(c_in, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.final(x)
        logits: Tensor = self.head(x if self.dense else x.mean((2, 3)))
        return logits

    def stage_of(self) -> list[int]:
        """The stage of each block, counted from 0."""
        return [stage for stage, count in enumerate(self.stages) for _ in range(count)]


def _placement_final(architecture: Architecture) -> tuple[str, ...]:
    return () if architecture.factory else PLACEMENTS[architecture.placement].final


def _stem(architecture: Architecture, kind: str, image: tuple[int, int, int], width: int) -> nn.Sequential:
    channels, height, side = image
    made = OrderedDict[str, nn.Module]()
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
    index: int, blocks: int,
) -> nn.Module:  # fmt: skip
    if not architecture.factory:
        kind = _BLOCKS[architecture.join]
        return kind(architecture, c_in, channels, c_out, stride, layers, dense, index, blocks)
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


def depth_of(network: nn.Module) -> int:
    """Counts the weighted layers on the main path of a built network; shortcuts and gates are not counted."""
    beside = {"shortcut", "gate"}
    return sum(weighted(module) for name, module in network.named_modules() if beside.isdisjoint(name.split(".")))


Init = Callable[[Tensor, torch.Generator], Tensor]


def _he_fan_out(weight: Tensor, generator: torch.Generator) -> Tensor:
    """He et al. 2015 (Delving deep into rectifiers), equation 14: normal, variance 2 / fan-out."""
    fan_out = weight.shape[0] * weight[0][0].numel()
    return torch.randn(weight.shape, generator=generator) * math.sqrt(2.0 / fan_out)


def _xavier(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Glorot and Bengio 2010, equation 16: uniform, +-sqrt(6 / (fan-in + fan-out))."""
    taps = weight[0][0].numel()
    bound = math.sqrt(6.0 / (taps * (weight.shape[0] + weight.shape[1])))
    return (torch.rand(weight.shape, generator=generator) * 2 - 1) * bound


# Xiao et al. 2018: variances of weights and biases at which a tanh layer neither shrinks nor stretches
# (mean-field chi_1 = 1); a test solves their equations for this pair.
CRITICAL_GAIN, CRITICAL_BIAS = 1.05, 2.01e-5


def _delta_orthogonal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Xiao et al. 2018, delta-orthogonal kernels: an orthogonal matrix at the centre tap, zeros around it.

    Deviation: where channels change (stem, first layer of a stage), orthogonal over all taps. A stride over
    centre taps would only subsample: the last map of an 8x8 image would see one corner pixel.
    """
    c_out, c_in = weight.shape[:2]
    columns = weight[0].numel() if c_out != c_in else c_in
    q, r = torch.linalg.qr(torch.randn(max(c_out, columns), min(c_out, columns), generator=generator))
    q = q * torch.sign(torch.diagonal(r)) * math.sqrt(CRITICAL_GAIN)
    matrix: Tensor = q if c_out >= columns else q.T
    if weight.dim() == 2 or c_out != c_in:
        return matrix.reshape(weight.shape)
    full = torch.zeros(weight.shape)
    full[:, :, weight.shape[2] // 2, weight.shape[3] // 2] = matrix
    return full


INITS: dict[str, Init] = {
    "he-fan-out": _he_fan_out,
    "xavier": _xavier,
    "delta-orthogonal": _delta_orthogonal,
    "fixup": _he_fan_out,  # then scaled: see `_fixup`
}


def initialize(network: nn.Module, architecture: Architecture, seed: int) -> None:
    """Sets every parameter and buffer from (seed, its name).

    Convolutions, and linear layers that stand for them: `architecture.init`. The head: uniform,
    +-1/sqrt(fan-in), as torch and torchvision leave it (Xavier nets: Xavier too, as the document does). Biases: the
    same bound (delta-orthogonal nets: normal, variance `CRITICAL_BIAS`). BatchNorm: scale 1, shift 0, mean 0,
    variance 1.
    """
    with torch.no_grad():
        for name, module in _leaves(network):
            # BatchNorm is as torch makes it.
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                bound = 1.0 / math.sqrt(weight[0].numel())
                generator = torch.Generator().manual_seed(stream(seed, f"{name}.weight"))
                if name == "head" and architecture.init != "xavier":
                    value = (torch.rand(weight.shape, generator=generator) * 2 - 1) * bound
                else:
                    value = INITS[architecture.init](weight, generator)
                weight.copy_(value)
                if module.bias is not None:
                    generator.manual_seed(stream(seed, f"{name}.bias"))
                    if architecture.init == "delta-orthogonal" and name != "head":
                        drawn = torch.randn(module.bias.shape, generator=generator) * math.sqrt(CRITICAL_BIAS)
                    else:
                        drawn = (torch.rand(module.bias.shape, generator=generator) * 2 - 1) * bound
                    module.bias.copy_(drawn)
                if name.endswith(".gate") and module.bias is not None:
                    module.bias.fill_(GATE_BIAS)
        if architecture.init == "fixup":
            _fixup(network)
        if architecture.zero_last:
            for module in network.modules():
                if isinstance(module, Block):
                    zero_branch(module)


def _fixup(network: nn.Module) -> None:
    """Zhang et al. 2019, section 3, rules 1 and 2: head and each branch's last layer at zero, the others scaled down.

    By L^(-1 / (2m - 2)), for L blocks of m layers. Their rule of a tenth of the learning rate for biases and gains is
    not followed: here one rate serves all parameters of a net.
    """
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    for block in blocks:
        *others, last = [module for module in block.branch if weighted(module)]
        for each in others:
            each.weight.mul_(len(blocks) ** (-1 / (2 * len(others))))  # type: ignore[operator]
        last.weight.zero_()  # type: ignore[operator]
    assert isinstance(network, Network)
    for parameter in network.head.parameters():
        parameter.zero_()


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in network.named_modules() if not any(True for _ in module.children()))
