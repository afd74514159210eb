"""What a network is, as data: architectures, layouts, and the arithmetic of depth.

No torch here: studies, tables and the report read these rows without it. `network.build` turns a
`ModelSpec` into modules. An architecture is a row of `ARCHITECTURES`, a layout a row of `LAYOUTS`.
"""

import difflib
import hashlib
from collections.abc import Callable, Iterable
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
        init: A key of `network.INITS`.
        norm: "batch", "layer", "rms", "group", "bias" (Fixup's scalar) or "none".
        activation: "relu", "tanh" or "swish".
        conv_bias: Whether convolutions before a normalisation keep a bias.
        zero_last: Whether the last factor of each branch starts at zero (Goyal et al. 2017, section 5.1).
        scale: A key of `SCALES`: what a branch is multiplied by before it joins.
        join: A key of `JOINS`.
        early_stride: Whether a bottleneck's first layer has the stride (He et al.), not its second (torchvision).
        factory: "package.module:name" of a user's own function, or "".
        code: Digest of that function's source file, or "": another source makes another trial.
        source: Paper and figure or table.
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


@dataclass(frozen=True)
class Placement:
    """Order of operations in a block (He et al. 2016, figure 4), around its convolutions.

    branch = `before`, `start`, conv, (`between`, conv)..., `end`; then the addition; then `after`. A projection on the
    shortcut sees what follows `before`.
    `final` stands once, between the last block and the head. The stem is always conv, norm, ReLU, so the
    first block of a net has no `before` (He et al. 2016, appendix: the first activation is shared).
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
}

# What a branch is multiplied by, after its last layer and normalisation.
SCALES: dict[str, str] = {
    "none": "nothing",
    "gain": "one learnt number; 0 at the start where `zero_last`, else 1",
    "channel-gain": "a learnt number per channel, small at the start: 0.1, or 1e-6 in deep nets",
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
        Architecture("resnet", "residual (post-activation)", source=_HE15 + "figure 2, option A"),
        Architecture("preact", "residual (pre-activation)", placement="preact", source=_HE16 + "figure 4e"),
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
        Architecture("resnet-zero", "residual, last BatchNorm starts at zero", zero_last=True,
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
        Architecture("rezero-bn", "ReZero", placement="relu-before-add", scale="gain", zero_last=True,
                     source="Bachlechner et al. 2020, equation 1; BatchNorm kept, as in its authors' ResNet"),
        Architecture("skipinit", "SkipInit, no normalisation", placement="preact", norm="none", conv_bias=True,
                     scale="gain", zero_last=True, source="De and Smith 2020, section 4"),
        Architecture("fixup", "Fixup, no normalisation", placement="fixup", norm="bias", scale="gain", init="fixup",
                     source="Zhang et al. 2019, section 3 and figure 1"),
        Architecture("layerscale", "pre-activation, LayerScale", placement="preact", scale="channel-gain",
                     source="Touvron et al. 2021 (CaiT), section 2"),
        Architecture("preact-sqrt", "pre-activation, branch over sqrt(blocks)", placement="preact",
                     scale="1/sqrt(blocks)", source="Bordelon et al. 2023, arXiv 2309.16620"),
        Architecture("preact-depth", "pre-activation, branch over depth", placement="preact", scale="base/blocks",
                     source="Dey et al. 2025 (CompleteP), arXiv 2505.01618"),
        Architecture("preact-layer", "pre-activation, LayerNorm", placement="preact", norm="layer",
                     source=_HE16 + "figure 4e; Ba et al. 2016"),
        Architecture("preact-rms", "pre-activation, RMSNorm", placement="preact", norm="rms",
                     source=_HE16 + "figure 4e; Zhang and Sennrich 2019"),
        Architecture("preact-group", "pre-activation, group normalisation", placement="preact", norm="group",
                     source=_HE16 + "figure 4e; Wu and He 2018"),
        Architecture("preact-none", "pre-activation, no normalisation", placement="preact", norm="none",
                     conv_bias=True, source=_HE16 + "figure 4e, without BatchNorm"),
        Architecture("highway", "highway net", norm="none", conv_bias=True, join="gate",
                     source="Srivastava et al. 2015, equation 3"),
        Architecture("stochastic-depth", "post-activation, stochastic depth", scale="survival",
                     source="Huang et al. 2016, section 3"),
        Architecture("hyper", "hyper-connections, static, 4 streams", placement="preact", join="streams",
                     source="Zhu et al. 2024, equations 1 to 5 and 14"),
        Architecture("mhc", "mHC, static, 4 streams", placement="preact", join="balanced streams",
                     source="Xie et al. 2025, equations 3, 8 and 9"),
        Architecture("preact-b", "residual (pre-activation), projection where the shape changes", shortcut="B-bare",
                     placement="preact", early_stride=True, source=_HE16 + "its authors' resnet-1k-layers"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How blocks are stacked: from a depth to the number of blocks in each stage.

    Depth counts the weighted layers on the main path: stem, the layers of every block, and the final
    linear layer. A shortcut's projection is not counted.

    Attributes:
        blocks: depth -> blocks in each stage; empty when the layout has no such depth.
        layers: depth -> weighted layers of one block.
        expansion: Channels out of a block over the stage's width (4 for bottlenecks).
        width: Channels of the first stage unless the study says otherwise.
        stem: "3x3", "7x7" (stride 2, then 3x3 max-pool of stride 2) or "dense".
        rule: The rule in words.
        examples: Depths that are usual, for messages.
    """

    name: str
    blocks: Callable[[int], tuple[int, ...]]
    layers: Callable[[int], int]
    expansion: Callable[[int], int]
    width: int
    stem: str
    rule: str
    examples: tuple[int, ...]


def _equal_stages(stages: int, layers: int) -> Callable[[int], tuple[int, ...]]:
    def blocks(depth: int) -> tuple[int, ...]:
        n, rest = divmod(depth - 2, stages * layers)
        return (n,) * stages if n >= 1 and rest == 0 else ()

    return blocks


# He et al. 2015, table 1.
_IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

LAYOUTS: dict[str, Layout] = {
    row.name: row
    for row in (
        Layout("four-stage", _equal_stages(4, 2), lambda d: 2, lambda d: 1, 16, "3x3", "8n+2",
               (18, 34, 66, 130, 258, 514, 1002)),
        Layout("imagenet", lambda d: _IMAGENET.get(d, ()), lambda d: 2 if d < 50 else 3, lambda d: 1 if d < 50 else 4,
               64, "7x7", "one of 18, 34, 50, 101, 152", (18, 34, 50, 101, 152)),
        Layout("cifar", _equal_stages(3, 2), lambda d: 2, lambda d: 1, 16, "3x3", "6n+2", (20, 32, 44, 56, 110, 1202)),
        Layout("cifar-bottleneck", _equal_stages(3, 3), lambda d: 3, lambda d: 4, 16, "3x3", "9n+2", (164, 1001)),
        Layout("dense", lambda d: ((d - 1) // 2,) if d >= 3 else (), lambda d: 2, lambda d: 1, 32, "dense",
               "3 or more (two-layer blocks; the last has one layer when odd)", (18, 34, 66, 130, 258, 514, 1002)),
    )
}  # fmt: skip

# No layout of the suite's is meant for more; a typo like 1e9 must not start to allocate.
MAX_DEPTH = 20_002


def blocks_per_stage(layout: str, depth: int) -> tuple[int, ...]:
    """The one place where depth becomes blocks.

    Args:
        layout: A key of `LAYOUTS`.
        depth: Weighted layers on the main path.

    Returns:
        Number of blocks in each stage.

    Raises:
        ValueError: Unknown layout, or a depth that it cannot have; the message names the rule and the
            nearest valid depths.
    """
    if layout not in LAYOUTS:
        raise ValueError(unknown("layout", layout, LAYOUTS))
    row = LAYOUTS[layout]
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise ValueError(f"depth must be a whole number, not {depth!r:.40}")
    blocks = row.blocks(depth) if 0 < depth <= MAX_DEPTH else ()
    if not blocks:
        near = nearest_depths(layout, depth)
        raise ValueError(
            f"depth {depth!s:.40} is not possible in layout {layout!r}: it must be {row.rule}"
            f" and at most {MAX_DEPTH}. Nearest: {', '.join(map(str, near))}."
        )
    return blocks


def nearest_depths(layout: str, depth: int) -> list[int]:
    """The valid depths just below and just above `depth` (one of them at the ends)."""
    row = LAYOUTS[layout]
    depth = min(max(depth, 0), MAX_DEPTH)
    below = next((d for d in range(depth, 0, -1) if row.blocks(d)), None)
    above = next((d for d in range(depth + 1, MAX_DEPTH + 1) if row.blocks(d)), None)
    return [d for d in (below, above) if d is not None]


@dataclass(frozen=True)
class ModelSpec:
    """One network: an architecture at a depth, for images of a size.

    Attributes:
        architecture: The row.
        layout: A key of `LAYOUTS`.
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


def stage_shapes(spec: ModelSpec) -> list[tuple[int, ...]]:
    """Output shape for one image after the stem, each stage, the pooling, its flattening, and the head.

    Arithmetic only, for those who do not load torch; a test holds it against the built modules.

    Returns:
        (channels, height, width) or (units,) each. Every stride of 2 rounds up, as padded convolutions do.
    """
    row, (_, height, width) = LAYOUTS[spec.layout], spec.image
    stages = blocks_per_stage(spec.layout, spec.depth)
    if row.stem == "dense":
        return [(spec.width,), *((spec.width,) for _ in stages), (spec.classes,)]
    if row.stem == "7x7":
        height, width = -(-height // 4), -(-width // 4)
    shapes: list[tuple[int, ...]] = [(spec.width, height, width)]
    channels = spec.width
    for stage in range(len(stages)):
        if stage:
            height, width = -(-height // 2), -(-width // 2)
        channels = spec.width * 2**stage * row.expansion(spec.depth)
        shapes.append((channels, height, width))
    return [*shapes, (channels, 1, 1), (channels,), (spec.classes,)]


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one trial: the same in any order, process, and on any device."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
