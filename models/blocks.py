"""The blocks: where the shortcut leaves, where it joins, what stands on it, and the order of operations.

One class serves every placement and shortcut of He et al. 2015 and 2016: the row says the order, the class
follows it. Initial values are the business of `initial`.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.parts import Bias, Times, activation, norm_layer, scale
from models.spec import PLACEMENTS, Architecture
from models.tokens import MLP, Attention

# On a 2x2 map, the tap (of nine, row by row) that leads from input position q to output position p, at [4p + q].
_TAPS_2X2 = torch.tensor(
    [3 * (k - i + 1) + (n - j + 1) for i in (0, 1) for j in (0, 1) for k in (0, 1) for n in (0, 1)]
)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 that skips taps which can only see padding.

    On a 1x1 map eight of nine taps multiply zeros; computing the centre tap alone gives the same output and
    gradients (zero for the outer taps). On a 2x2 map every output sees every input through one tap: a full matrix,
    16 products instead of 36. The last two stages of the digits ladder are such maps; on a CPU forward and
    backward of a layer took 0.14 ms and 0.27 ms that way instead of 0.43 and 0.45 (width 8, batch 128).

    Shapes: N x C_in x H x W to N x C_out x ceil(H/stride) x ceil(W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.is_meta:  # where FLOPs are counted: by convention, padding included
            return super().forward(input)
        if input.shape[2] == 1 and input.shape[3] == 1:
            return F.linear(input.flatten(1), self.weight[:, :, 1, 1], self.bias)[:, :, None, None]
        if input.shape[2:] == (2, 2) and self.stride == (1, 1) and input.device.type == "cpu":
            return self._on_2x2(input)
        return super().forward(input)

    def _on_2x2(self, x: Tensor) -> Tensor:
        c_out, c_in = self.weight.shape[:2]
        taps = self.weight.permute(0, 2, 3, 1).reshape(c_out, 9, c_in).index_select(1, _TAPS_2X2)
        matrix = taps.view(c_out, 4, 4, c_in).transpose(0, 1).reshape(4 * c_out, 4 * c_in)
        bias = None if self.bias is None else self.bias.repeat(4)
        y = F.linear(x.permute(0, 2, 3, 1).reshape(-1, 4 * c_in), matrix, bias)
        return y.view(-1, 2, 2, c_out).permute(0, 3, 1, 2)


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution. On a CPU one with a stride and few channels subsamples first.

    It sees the same inputs either way. But oneDNN's AVX2 kernels for strided 1x1 convolutions of 2 to 4 channels write
    where they must not (docs/faults.md); from 8 channels on that was not seen.

    Shapes: N x C_in x H x W to N x C_out x ceil(H/stride) x ceil(W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        down, right = self.stride
        few = min(self.in_channels, self.out_channels) < 8
        if few and (down, right) != (1, 1) and input.device.type == "cpu":
            return F.conv2d(input[:, :, ::down, ::right], self.weight, self.bias)
        return super().forward(input)


class Shortcut(nn.Module):
    """The parameter-free shortcut (option A of He et al. 2015, section 4.1): subsample, pad with zero channels.

    Shapes: N x C_in x H x W to N x C_out x ceil(H/stride) x ceil(W/stride); the identity where nothing changes.

    Args:
        scale: Constant that multiplies it (He et al. 2016, table 1, "constant scaling").
        dropout: Probability of dropping an element in training (He et al. 2016, table 1, "dropout shortcut").
        both_sides: Half of the zero channels before the old ones, the rest after, instead of all after. The same
            family of functions up to an order of channels, so weights of one form are not those of the other.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, scale: float = 1.0, dropout: float = 0.0,
        both_sides: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        extra = out_channels - in_channels
        self.padding = (extra // 2, extra - extra // 2) if both_sides else (0, extra)
        self.stride, self.scale, self.dropout = stride, scale, dropout

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if any(self.padding):
            x = F.pad(x, (0, 0) * (x.dim() - 2) + self.padding)
        if self.scale != 1.0:
            x = x * self.scale
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


def sequence(
    architecture: Architecture, ops: tuple[str, ...], channels: int, dense: bool, number: int = 1
) -> nn.Sequential:
    """The operations named by `ops` ("norm", "act" or "scaled"), on `channels` channels, in block `number` from 1."""
    made = OrderedDict[str, nn.Module]()
    for op in ops:
        if op == "scaled":
            made[op] = Times(1 / math.sqrt(number))
        else:
            made[op] = norm_layer(architecture, channels, dense) if op == "norm" else activation(architecture)
    return nn.Sequential(made)


class Block(nn.Module):
    """One block: `after(branch(before(x)) + shortcut(x))`, or `after(branch(before(x)))` when plain.

    The order is `PLACEMENTS[architecture.placement]` (He et al. 2016, figure 4). A projection on the shortcut sees
    the pre-activated input (same paper, appendix); an identity sees the input as it came.

    Args:
        architecture: The row.
        in_channels: Channels in.
        channels: Channels of each layer but a bottleneck's last.
        out_channels: Channels out.
        stride: 1, or 2 where the maps shrink (on the 3x3 layer of a bottleneck, as torchvision does, or on its first).
        layers: 2 (3x3, 3x3; He et al. 2015, figure 5 left), 3 (1x1, 3x3, 1x1; right); 1 or 4 (dense only).
        dense: Fully connected layers instead of convolutions.
        index: The block's place in its network, from 0. Right after the stem, whose normalisation and activation serve
            for it, a block has no `before`; after a stem of patches, which has neither, it has.
        blocks: How many the network has.
        tokens: With `dense`: a sublayer of a transformer in the place of its layers, attention where `index` is even,
            an MLP where it is odd.

    Attributes:
        shares: Whether the shortcut gets what the branch gets, not the block's input.

    Shapes: N x in_channels x H x W to N x out_channels x ceil(H/stride) x ceil(W/stride); dense: N x in to N x out;
    tokens: N x T x channels to the same.
    """

    def __init__(
        self, architecture: Architecture, in_channels: int, channels: int, out_channels: int, stride: int = 1,
        layers: int = 2, dense: bool = False, index: int = 1, blocks: int = 2, tokens: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        order = PLACEMENTS[architecture.placement]
        widths = [in_channels, *[channels] * (layers - 1), out_channels]
        number = index // 2 + 1 if tokens else index + 1
        self.before = sequence(architecture, order.before if index or tokens else (), in_channels, dense, number)
        branch = OrderedDict[str, nn.Module]()
        for op in order.start:
            branch[f"{op}0"] = sequence(architecture, (op,), in_channels, dense)[0]
        for i in range(1, layers + 1):
            if tokens:
                branch[f"conv{i}"] = sublayer(architecture, channels, index)
            else:
                branch[f"conv{i}"] = layer(architecture, widths[i - 1], widths[i], i, layers, stride, dense)
            for op in order.between if i < layers else order.end:
                name = f"{op}{i}" if f"{op}{i}" not in branch else f"{op}{i}b"
                branch[name] = sequence(architecture, (op,), widths[i], dense)[0]
        if (factor := scale(architecture, out_channels, dense, index, blocks)) is not None:
            branch["scale"] = factor
            if architecture.norm == "bias":
                branch["norm_last"] = Bias()
        self.branch = nn.Sequential(branch)
        self.shortcut = _shortcut(architecture, in_channels, out_channels, stride, dense)
        # A projection must see what the branch sees; an identity must stay an identity.
        projects = isinstance(self.shortcut, nn.Sequential | nn.Conv2d | nn.Linear)
        changes = stride != 1 or in_channels != out_channels
        self.shares = projects or (architecture.shortcut == "A-shared" and changes)
        self.after = sequence(architecture, order.after, out_channels, dense)

    def forward(self, x: Tensor) -> Tensor:
        branch, carried = self.sides(x)
        joined: Tensor = self.after(branch if carried is None else branch + carried)
        return joined

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is added: the branch's output and the shortcut's. A plain block has no second one."""
        y = self.before(x)
        return self.branch(y), None if self.shortcut is None else self.shortcut(y if self.shares else x)

    def carried(self, x: Tensor) -> Tensor:
        """The shortcut's output alone, of a block that has one."""
        assert self.shortcut is not None
        carried: Tensor = self.shortcut(self.before(x) if self.shares else x)
        return carried

    def last_factor(self) -> nn.Module:
        """The module whose parameters multiply the whole branch last: zero there makes the branch zero."""
        learnt = [m for m in self.branch if not isinstance(m, Bias) and any(True for _ in m.parameters())]
        last = learnt[-1]
        return last.output if isinstance(last, Attention | MLP) else last


def layer(
    architecture: Architecture, c_in: int, c_out: int, i: int, layers: int, stride: int, dense: bool
) -> nn.Module:
    """Layer number `i` of a block's `layers`, from 1: a 3x3 convolution, a bottleneck's 1x1, or a linear map."""
    bias = architecture.conv_bias
    if dense:
        return nn.Linear(c_in, c_out, bias=bias)
    strided = i == (2 if layers == 3 and not architecture.early_stride else 1)
    if layers == 3 and i != 2:
        return Conv1x1(c_in, c_out, stride if strided else 1, bias=bias)
    return Conv3x3(c_in, c_out, stride if strided else 1, bias=bias)


def sublayer(architecture: Architecture, channels: int, index: int) -> nn.Module:
    """Attention and MLP by turns."""
    if index % 2 == 0:
        return Attention(channels, architecture.conv_bias)
    return MLP(channels, architecture.conv_bias, activation(architecture))


def _shortcut(architecture: Architecture, c_in: int, c_out: int, stride: int, dense: bool) -> nn.Module | None:
    kind = architecture.shortcut
    if kind == "none":
        return None
    changes = stride != 1 or c_in != c_out
    if kind == "C" or (kind in ("B", "B-bare", "B-bias") and changes):
        bias = kind == "B-bias"
        project = nn.Linear(c_in, c_out, bias=bias) if dense else Conv1x1(c_in, c_out, stride, bias=bias)
        return nn.Sequential(project, norm_layer(architecture, c_out, dense)) if kind in ("B", "C") else project
    scale, dropout = 0.5 if kind == "half" else 1.0, 0.5 if kind == "dropout" else 0.0
    return Shortcut(c_in, c_out, stride, scale, dropout, both_sides=kind == "A-both-sides")


def weighted(module: nn.Module) -> bool:
    """Whether a module is a layer in the sense of depth: a convolution, a linear map, or a transformer's sublayer."""
    return isinstance(module, nn.Conv2d | nn.Linear | Attention | MLP)


def zero_branch(block: Block) -> None:
    """Sets the last factor of the branch, and a bias after it, to zero: the branch adds nothing, but still learns."""
    last = block.last_factor()
    parts = list(block.branch.modules())
    with torch.no_grad():
        for part in parts[parts.index(last) :]:
            for parameter in part.parameters(recurse=False):
                parameter.zero_()
