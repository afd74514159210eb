"""What a network is, as data: architectures, and a network of one at a depth.

No torch here: studies, tables and the report read these rows without it. `network.build` turns a
`ModelSpec` into modules. An architecture is a row of `ARCHITECTURES`; a layout is a row of `layouts.LAYOUTS`.
"""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One line that names the fault, the nearest known name, and the valid choices."""
    names = list(known)
    near = difflib.get_close_matches(str(name)[:80], names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {str(name)!r:.80}.{hint} Known: {', '.join(names)}."


@dataclass(frozen=True)
class Architecture:
    """A row of `ARCHITECTURES`: what one layer block is made of, whatever the depth.

    Attributes:
        name: The key that studies and the command line use.
        label: How plots and pages name it.
        shortcut: A key of `SHORTCUTS`; a plain net and its residual twin differ in this field only.
        placement: A key of `PLACEMENTS`: where normalisation and ReLU stand relative to the addition.
        init: A key of `initial.INITS`.
        norm: "batch", "layer", "rms", "group", "bias" (Fixup's scalar) or "none".
        activation: "relu", "tanh", "swish" or "gelu".
        conv_bias: Whether convolutions before a normalisation keep a bias.
        zero_last: Whether the last factor of each branch starts at zero (Goyal et al. 2017, section 5.1).
        scale: A key of `SCALES`: what a branch is multiplied by before it joins.
        join: A key of `JOINS`.
        early_stride: Whether a bottleneck's first layer has the stride (He et al.), not its second (torchvision).
        factory: "package.module:name" of a user's own function, or "".
        code: Digest of that function's source file, or "": another source makes another trial.
        source: Paper with figure, equation or table; what of it was read stands in docs/designs.md.
    """

    name: str
    label: str
    shortcut: str = "A"
    placement: str = "post"
    init: str = "he-fan-out"
    norm: str = "batch"
    activation: str = "relu"
    conv_bias: bool = False
    zero_last: bool = False
    scale: str = "none"
    join: str = "sum"
    early_stride: bool = False
    factory: str = ""
    code: str = ""
    source: str = ""

    @property
    def residual(self) -> bool:
        """Whether blocks have a shortcut."""
        return self.shortcut != "none"

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers in training, as far as the row says; a user's own function may."""
        return self.shortcut == "dropout" or self.scale == "survival"


@dataclass(frozen=True)
class Placement:
    """Order of operations in a block (He et al. 2016, figure 4), around its convolutions.

    branch = `before`, `start`, conv, (`between`, conv)..., `end`; then the addition; then `after`. A projection on the
    shortcut sees what follows `before`.
    `final` stands once, between the last block and the head. The stem of a net with maps or vectors is always conv,
    norm, ReLU, so its first block has no `before` (He et al. 2016, appendix: the first activation is shared).
    "scaled" divides by the square root of the block's number from 1 (in a transformer: of its layer, two blocks).
    """

    before: tuple[str, ...]
    between: tuple[str, ...]
    end: tuple[str, ...]
    after: tuple[str, ...]
    final: tuple[str, ...] = ()
    start: tuple[str, ...] = ()


PLACEMENTS: dict[str, Placement] = {
    "post": Placement((), ("norm", "act"), ("norm",), ("act",)),  # figure 4a, the original unit
    "bn-after-add": Placement((), ("norm", "act"), (), ("norm", "act")),  # figure 4b
    "relu-before-add": Placement((), ("norm", "act"), ("norm", "act"), ()),  # figure 4c
    "relu-only-preact": Placement(("act",), ("norm", "act"), ("norm",), (), ("act",)),  # figure 4d
    "preact": Placement(("norm", "act"), ("norm", "act"), (), (), ("norm", "act")),  # figure 4e
    "fixup": Placement((), ("norm", "act", "norm"), (), ("act",), ("norm",), ("norm",)),  # Zhang et al. 2019, figure 1
    "post-norm": Placement((), ("norm", "act"), (), ("norm",)),  # Xiong et al. 2020, figure 1a
    "pre-norm": Placement(("norm",), ("norm", "act"), (), (), ("norm",)),  # Xiong et al. 2020, figure 1b
    "pre-norm-scaled": Placement(("norm", "scaled"), ("norm", "act"), (), (), ("norm",)),  # Sun et al. 2025
}

# What a branch is multiplied by, after its last layer and normalisation.
SCALES: dict[str, str] = {
    "none": "nothing",
    "gain": "one learnt number; 0 at the start where `zero_last`, else 1",
    "channel-gain": "a learnt number per channel, small at the start: 0.1, in deep nets 1e-5 or 1e-6",
    "1/sqrt(blocks)": "one over the square root of the number of blocks",
    "base/blocks": "one in a net of 18 layers of two-layer blocks; in others less, as the number of blocks is more",
    "survival": "0 or 1 by chance for each batch; kept less often the deeper the block",
}

# How branch and input become the block's output.
JOINS: dict[str, str] = {
    "sum": "their sum",
    "gate": "each layer has a learnt gate between what it computes and its input",
    "streams": "four streams, which each branch reads, writes and mixes by learnt weights",
    "balanced streams": "as streams; the mixing weights are doubly stochastic",
}

# What stands on the shortcut. A, B and C are the options of He et al. 2015, section 4.1.
SHORTCUTS: dict[str, str] = {
    "none": "no shortcut: a plain net",
    "A": "identity; where the shape changes, subsampled and padded with zero channels (no parameters)",
    "A-both-sides": "A, with half of the zero channels before and half after the old ones",
    "A-shared": "A; where the shape changes, of what the branch sees: the input normalised and activated",
    "B": "identity; where the shape changes, a 1x1 convolution with BatchNorm",
    "B-bare": "identity; where the shape changes, a 1x1 convolution without bias and BatchNorm",
    "B-bias": "identity; where the shape changes, a 1x1 convolution with bias and no BatchNorm (the document)",
    "C": "a 1x1 convolution with BatchNorm on every shortcut",
    "half": "A, scaled by 0.5 (He et al. 2016, table 1)",
    "dropout": "A, with dropout 0.5 in training (He et al. 2016, table 1)",
}

_HE15 = "He et al. 2015, Deep Residual Learning, "
_HE16 = "He et al. 2016, Identity Mappings in Deep Residual Networks, "

ARCHITECTURES: dict[str, Architecture] = {
    row.name: row
    for row in (
        Architecture("plain", "plain", shortcut="none", source=_HE15 + "figure 3 (middle)"),
        Architecture("resnet", "residual (post-activation)", source=_HE15 + "figure 2, equation 1, option A"),
        Architecture("preact", "residual (pre-activation)", placement="preact",
                     source=_HE16 + "figure 4e, equation 9"),
        Architecture("resnet-b", "residual, projection where the shape changes", shortcut="B",
                     source=_HE15 + "option B"),
        Architecture("resnet-c", "residual, 1x1 convolution on every shortcut", shortcut="C", source=_HE16 + "table 1"),
        Architecture("resnet-half", "residual, shortcut scaled by 0.5", shortcut="half", source=_HE16 + "table 1"),
        Architecture("resnet-dropout", "residual, dropout on the shortcut", shortcut="dropout",
                     source=_HE16 + "table 1"),
        Architecture("bn-after-add", "residual, BatchNorm after the addition", placement="bn-after-add",
                     source=_HE16 + "figure 4b"),
        Architecture("relu-before-add", "residual, ReLU before the addition", placement="relu-before-add",
                     source=_HE16 + "figure 4c"),
        Architecture("relu-only-preact", "residual, ReLU-only pre-activation", placement="relu-only-preact",
                     source=_HE16 + "figure 4d"),
        Architecture("resnet-zero", "post-activation, last BatchNorm starts at zero", zero_last=True,
                     source="Goyal et al. 2017, section 5.1"),
        Architecture("plain-orthogonal", "plain, delta-orthogonal, tanh, no BatchNorm", shortcut="none", norm="none",
                     activation="tanh", conv_bias=True, init="delta-orthogonal",
                     source="Xiao et al. 2018, delta-orthogonal kernels"),
        Architecture("document", "the document's residual network", shortcut="B-bias", conv_bias=True, init="xavier",
                     source="the document (d2l.ai, section 8.6)"),
        Architecture("resnet-both-sides", "residual, zero channels on both sides", shortcut="A-both-sides",
                     source="akamaster/pytorch_resnet_cifar10, option A"),
        Architecture("preact-shared", "residual (pre-activation), shortcut activated where the shape changes",
                     shortcut="A-shared", placement="preact", source="facebookarchive/fb.resnet.torch, preresnet"),
        Architecture("preact-zero", "pre-activation, last layer starts at zero", placement="preact", zero_last=True,
                     source="Goyal et al. 2017, section 5.1, in He et al. 2016's block"),
        Architecture("rezero-bn", "ReZero, BatchNorm kept", placement="relu-before-add", scale="gain", zero_last=True,
                     source="Bachlechner et al. 2020, figure 1, equation 1; BatchNorm kept, as in its authors' ResNet"),
        Architecture("skipinit", "SkipInit, no normalisation", placement="preact", norm="none", conv_bias=True,
                     scale="gain", zero_last=True, source="De and Smith 2020, its authors' code"),
        Architecture("fixup", "Fixup, no normalisation", placement="fixup", norm="bias", scale="gain", init="fixup",
                     source="Zhang et al. 2019, its three rules, and its authors' code"),
        Architecture("layerscale", "pre-activation, LayerScale", placement="preact", scale="channel-gain",
                     source="Touvron et al. 2021 (CaiT), its authors' code"),
        Architecture("preact-sqrt", "pre-activation, branch / sqrt(blocks)", placement="preact",
                     scale="1/sqrt(blocks)", source="Bordelon et al. 2023, arXiv 2309.16620, abstract"),
        Architecture("preact-depth", "pre-activation, branch / depth", placement="preact", scale="base/blocks",
                     source="Dey et al. 2025 (CompleteP), arXiv 2505.01618, table 1"),
        Architecture("preact-layer", "pre-activation, LayerNorm", placement="preact", norm="layer",
                     source=_HE16 + "figure 4e; Ba et al. 2016, equation 3"),
        Architecture("preact-rms", "pre-activation, RMSNorm", placement="preact", norm="rms",
                     source=_HE16 + "figure 4e; Zhang and Sennrich 2019"),
        Architecture("preact-group", "pre-activation, group normalisation", placement="preact", norm="group",
                     source=_HE16 + "figure 4e; Wu and He 2018, figure 2, equation 7"),
        Architecture("preact-none", "pre-activation, no normalisation", placement="preact", norm="none",
                     conv_bias=True, source=_HE16 + "figure 4e, without BatchNorm"),
        Architecture("highway", "highway net, no normalisation", norm="none", conv_bias=True, join="gate",
                     source="Srivastava et al. 2015, equation 3"),
        Architecture("stochastic-depth", "post-activation, stochastic depth", scale="survival",
                     source="Huang et al. 2016, figure 2, equations 2 and 4"),
        Architecture("hyper", "static hyper-connections, 4 streams", placement="preact", join="streams",
                     source="Zhu et al. 2024, figure 2b, equations 1 to 5 and 14"),
        Architecture("mhc", "static mHC, 4 streams", placement="preact", join="balanced streams",
                     source="Xie et al. 2025, figure 1c, equations 3, 8 and 9"),
        Architecture("dense-swish", "LayerNorm and Swish, four layers per block", placement="relu-before-add",
                     norm="layer", activation="swish", conv_bias=True, init="lecun-third",
                     source="Wang et al. 2025, arXiv 2503.14858, figure 2"),
        Architecture("transformer-plain", "transformer without shortcuts", shortcut="none", placement="pre-norm",
                     norm="layer", activation="gelu", conv_bias=True, init="xavier-no-bias",
                     source="as pre-norm, without its shortcuts"),
        Architecture("post-norm", "transformer, post-norm", placement="post-norm",
                     norm="layer", activation="gelu", conv_bias=True, init="xavier-no-bias",
                     source="Vaswani et al. 2017, figure 1; Xiong et al. 2020, figure 1a, table 1"),
        Architecture("pre-norm", "transformer, pre-norm", placement="pre-norm",
                     norm="layer", activation="gelu", conv_bias=True, init="xavier-no-bias",
                     source="Xiong et al. 2020, figure 1b, table 1; Dosovitskiy et al. 2021, equations 2 and 3"),
        Architecture("pre-norm-scaled", "transformer, pre-norm, LayerNorm scaling", placement="pre-norm-scaled",
                     norm="layer", activation="gelu", conv_bias=True, init="xavier-no-bias",
                     source="Sun et al. 2025, arXiv 2502.05795, figure 1b, equation 12"),
        Architecture("preact-b", "residual (pre-activation), projection where the shape changes", shortcut="B-bare",
                     placement="preact", early_stride=True, source=_HE16 + "its authors' resnet-1k-layers"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class ModelSpec:
    """One network: an architecture at a depth, for images of a size.

    Attributes:
        architecture: The row.
        layout: A key of `layouts.LAYOUTS`.
        depth: Weighted layers on the main path.
        width: Channels of the first stage (units of every layer when dense).
        image: Channels, height, width of the input.
        classes: Number of classes.
    """

    architecture: Architecture
    layout: str
    depth: int
    width: int
    image: tuple[int, int, int]
    classes: int


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one trial: the same in any order, process, and on any device."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
