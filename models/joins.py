"""Blocks that join branch and input by something else than a sum: gates, and several streams side by side.

`blocks.Block` is the residual block itself. Layers, shortcuts and normalisations are its own; initial values that a
paper prescribes for gates and streams stand here.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.blocks import Block, Shortcut, layer
from models.parts import activation, norm_layer
from models.spec import Architecture

# Bias of each gate at the start: closed, so that a deep net first carries its input. Srivastava et al. 2015, section
# 4, have -2 on MNIST and -4 on CIFAR-100.
GATE_BIAS = -4.0

# Streams side by side: the papers' usual number.
STREAMS = 4
# Initial values of balanced streams: shares read, and entries off the mixture's diagonal before their exponential.
READ, READ_OTHERS, OFF_DIAGONAL = 0.97, 0.01, -4.0
# Xie et al. 2025, table 5: rounds of balancing.
ROUNDS = 20


class HighwayLayer(nn.Module):
    """y = H(x) T(x) + x (1 - T(x)), where T is a sigmoid gate (Srivastava et al. 2015, equation 3).

    Where the shape changes, x is subsampled and padded with zero channels, as in the residual nets beside it (the
    paper uses a plain layer there).
    """

    def __init__(
        self, architecture: Architecture, c_in: int, c_out: int, i: int, layers: int, stride: int, dense: bool
    ) -> None:
        super().__init__()
        self.conv = layer(architecture, c_in, c_out, i, layers, stride, dense)
        self.gate = layer(replace(architecture, conv_bias=True), c_in, c_out, i, layers, stride, dense)
        self.norm, self.act = norm_layer(architecture, c_out, dense), activation(architecture)
        own = getattr(self.conv, "stride", (1, 1))[0]
        self.shortcut = Shortcut(c_in, c_out, own)

    def forward(self, x: Tensor) -> Tensor:
        carried, share = self.shortcut(x), torch.sigmoid(self.gate(x))
        y: Tensor = carried + share * (self.act(self.norm(self.conv(x))) - carried)
        return y


class Highway(nn.Module):
    """Highway layers in the place of a block's layers; arguments and shapes as `Block`."""

    def __init__(
        self, architecture: Architecture, in_channels: int, channels: int, out_channels: int, stride: int = 1,
        layers: int = 2, dense: bool = False, index: int = 1, blocks: int = 2, tokens: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if tokens:
            raise ValueError("a transformer's sublayers have no gates")
        widths = [in_channels, *[channels] * (layers - 1), out_channels]
        self.layers = nn.Sequential(
            *(
                HighwayLayer(architecture, widths[i - 1], widths[i], i, layers, stride, dense)
                for i in range(1, layers + 1)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


class Spread(nn.Module):
    """Copies what the stem gives to every stream: N x ... to N x STREAMS x ..."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(x.shape[0], STREAMS, *x.shape[1:])


class Merge(nn.Module):
    """Sums the streams: N x STREAMS x ... to N x ..."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


class StreamBlock(nn.Module):
    """A branch that reads a mixture of several streams and writes to each of them, while the streams mix.

    x_j becomes sum_k mix[j, k] x_k + write[j] branch(sum_k read[k] x_k): the static form of hyper-connections (Zhu et
    al. 2024, equation 2), without what depends on the input. At the start block number b reads stream b modulo
    `STREAMS`, writes 1 to each, and mixes nothing (their equation 14): the sum of all streams is then that of a
    pre-activation net.

    Balanced (mHC; Xie et al. 2025, equations 8 and 9): read is a sigmoid, write twice a sigmoid, and mix is made
    doubly stochastic by `ROUNDS` rounds of dividing columns and rows by their sums. The paper gives no initial values
    of its static part. Ours begin near those above: `READ` of one stream, `READ_OTHERS` of each other, 1 written to
    each, 95 % of a stream kept. To read all alike would keep the streams equal for ever.

    Shapes: N x STREAMS x in_channels x H x W to N x STREAMS x out_channels x ceil(H/stride) x ceil(W/stride); dense:
    N x STREAMS x units.
    """

    def __init__(
        self, architecture: Architecture, in_channels: int, channels: int, out_channels: int, stride: int = 1,
        layers: int = 2, dense: bool = False, index: int = 1, blocks: int = 2, tokens: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        alone = replace(architecture, shortcut="none", join="sum")
        self.branch = Block(alone, in_channels, channels, out_channels, stride, layers, dense, index, blocks, tokens)
        self.shortcut = Shortcut(in_channels, out_channels, stride)
        self.balanced = architecture.join == "balanced streams"
        if self.balanced:
            read = torch.full((STREAMS,), _logit(READ_OTHERS))
            read[index % STREAMS] = _logit(READ)
            write, mix = torch.zeros(STREAMS), OFF_DIAGONAL * (1 - torch.eye(STREAMS))
        else:
            read = torch.zeros(STREAMS)
            read[index % STREAMS] = 1.0
            write, mix = torch.ones(STREAMS), torch.eye(STREAMS)
        self.read, self.write, self.mix = nn.Parameter(read), nn.Parameter(write), nn.Parameter(mix)

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """What a block reads (STREAMS), writes (STREAMS) and how it mixes (STREAMS x STREAMS)."""
        if not self.balanced:
            return self.read, self.write, self.mix
        mix = self.mix.exp()
        for _ in range(ROUNDS):
            mix = mix / mix.sum(0, keepdim=True)
            mix = mix / mix.sum(1, keepdim=True)
        return torch.sigmoid(self.read), 2 * torch.sigmoid(self.write), mix

    def forward(self, x: Tensor) -> Tensor:
        read, write, mix = self.mixture()
        y = self.branch(torch.einsum("k,nk...->n...", read, x))
        streams = self.shortcut(x.flatten(0, 1)).unflatten(0, (x.shape[0], STREAMS))
        return torch.einsum("jk,nk...->nj...", mix, streams) + torch.einsum("j,n...->nj...", write, y)
