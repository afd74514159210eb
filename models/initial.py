"""Initial values of networks: from (seed, the parameter's name), of the distributions that the papers give.

So twins that differ in their shortcut start from the same weights wherever names and shapes agree, whatever the order
in which networks are built.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from models.blocks import Block, weighted, zero_branch
from models.joins import GATE_BIAS
from models.spec import Architecture, stream
from models.tokens import PLACES, Patches

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


def _lecun_third(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Wang et al. 2025, authors' code: uniform, variance 1 / (3 fan-in)."""
    return (torch.rand(weight.shape, generator=generator) * 2 - 1) / math.sqrt(weight[0].numel())


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
    "xavier-no-bias": _xavier,
    "lecun-third": _lecun_third,
}
# Initial values whose biases are zero.
_NO_BIAS = ("xavier-no-bias", "lecun-third")


def initialize(network: nn.Module, architecture: Architecture, seed: int) -> None:
    """Sets every parameter and buffer from (seed, its name).

    Convolutions, and linear layers that stand for them: `architecture.init`. The head: uniform,
    +-1/sqrt(fan-in), as torch and torchvision leave it (Xavier nets: Xavier too, as the document does). Biases: the
    same bound (delta-orthogonal nets: normal, variance `CRITICAL_BIAS`; `_NO_BIAS`: zero). BatchNorm: scale 1, shift
    0, mean 0, variance 1. Places of tokens: normal, deviation `PLACES`.
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
                    if architecture.init in _NO_BIAS and name != "head":
                        module.bias.zero_()
                if name.endswith(".gate") and module.bias is not None:
                    module.bias.fill_(GATE_BIAS)
        for name, module in network.named_modules():
            if isinstance(module, Patches):
                generator = torch.Generator().manual_seed(stream(seed, f"{name}.places"))
                module.places.copy_(torch.randn(module.places.shape, generator=generator) * PLACES)
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
    for parameter in network.get_submodule("head").parameters():
        parameter.zero_()


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in network.named_modules() if not any(True for _ in module.children()))
