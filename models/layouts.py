"""How blocks are stacked: layouts, the arithmetic of depth, and the shapes that follow from it.

No torch here, as in `spec`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from models.spec import ARCHITECTURES, Architecture, ModelSpec, unknown


@dataclass(frozen=True)
class Layout:
    """How blocks are stacked: from a depth to the number of blocks in each stage.

    Depth counts the weighted layers on the main path: stem, the layers of every block, and the final
    linear layer. A shortcut's projection is not counted; an attention or MLP sublayer counts as one layer.

    Attributes:
        blocks: depth -> blocks in each stage; empty when the layout has no such depth.
        layers: depth -> weighted layers of one block.
        expansion: Channels out of a block over the stage's width (4 for bottlenecks).
        width: Channels of the first stage unless the study says otherwise.
        stem: "3x3", "7x7" (stride 2, then 3x3 max-pool of stride 2), "dense" or "patches".
        rule: The rule in words.
        placements: Keys of `PLACEMENTS` that an architecture must have one of; empty where any will do.
    """

    name: str
    blocks: Callable[[int], tuple[int, ...]]
    layers: Callable[[int], int]
    expansion: Callable[[int], int]
    width: int
    stem: str
    rule: str
    placements: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        """What blocks pass on: "maps" (N x C x H x W), "vectors" (N x C) or "tokens" (N x T x C)."""
        return {"dense": "vectors", "patches": "tokens"}.get(self.stem, "maps")

    @property
    def convolutional(self) -> bool:
        """Whether its nets have convolutions between stem and head."""
        return self.form == "maps"


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
        Layout("four-stage", _equal_stages(4, 2), lambda d: 2, lambda d: 1, 16, "3x3", "8n+2"),
        Layout("imagenet", lambda d: _IMAGENET.get(d, ()), lambda d: 2 if d < 50 else 3, lambda d: 1 if d < 50 else 4,
               64, "7x7", "one of 18, 34, 50, 101, 152"),
        Layout("cifar", _equal_stages(3, 2), lambda d: 2, lambda d: 1, 16, "3x3", "6n+2"),
        Layout("cifar-bottleneck", _equal_stages(3, 3), lambda d: 3, lambda d: 4, 16, "3x3", "9n+2"),
        Layout("dense", lambda d: ((d - 1) // 2,) if d >= 3 else (), lambda d: 2, lambda d: 1, 32, "dense",
               "3 or more (two-layer blocks; the last has one layer when odd)"),
        Layout("dense-four", _equal_stages(1, 4), lambda d: 4, lambda d: 1, 32, "dense", "4n+2"),
        Layout("transformer", lambda d: (d - 2,) if d >= 4 and d % 2 == 0 else (), lambda d: 1, lambda d: 1, 16,
               "patches", "2n+2 (n attention and n MLP sublayers)",
               ("post-norm", "pre-norm", "pre-norm-scaled")),
    )
}  # fmt: skip

# The layout that an architecture is from, where that is not "four-stage".
FROM = {
    "document": "imagenet",
    "dense-swish": "dense-four",
    **dict.fromkeys(("transformer-plain", "post-norm", "pre-norm", "pre-norm-scaled"), "transformer"),
}

# Layouts whose nets are convolutional: what most claims are about.
CONVOLUTIONAL = tuple(name for name, row in LAYOUTS.items() if row.convolutional)

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


def misfit(architecture: Architecture, layout: str) -> str:
    """Why an architecture cannot be built in a layout, in one line; empty when it can. A user's own always can."""
    fits = LAYOUTS[layout].placements
    if not fits or architecture.factory or architecture.placement in fits:
        return ""
    names = [row.name for row in ARCHITECTURES.values() if row.placement in fits]
    return f"architecture {architecture.name!r} is not possible in layout {layout!r}: it takes {', '.join(names)}"


def nearest_depths(layout: str, depth: int) -> list[int]:
    """The valid depths just below and just above `depth` (one of them at the ends)."""
    row = LAYOUTS[layout]
    depth = min(max(depth, 0), MAX_DEPTH)
    below = next((d for d in range(depth, 0, -1) if row.blocks(d)), None)
    above = next((d for d in range(depth + 1, MAX_DEPTH + 1) if row.blocks(d)), None)
    return [d for d in (below, above) if d is not None]


def patches(layout: str, image: tuple[int, int, int]) -> tuple[int, int]:
    """Side of a patch in pixels, and how many patches an image is cut into.

    The side is a quarter of the largest power of two that the shorter side of the image holds: 16 to 49 patches of a
    square image (8x8: sixteen of 2x2; 28x28: forty-nine of 4x4; 224x224: forty-nine of 32x32).

    Raises:
        ValueError: The image is no whole number of patches; one line.
    """
    _, height, width = image
    side = max(1, 2 ** (min(height, width).bit_length() - 1) // 4)
    if height % side or width % side:
        near = next((usual for usual in (8, 16, 28, 32, 64, 96, 224) if usual >= min(height, width)), 224)
        raise ValueError(
            f"layout {layout!r} cuts images into patches of {side}x{side} pixels, and {height}x{width} is no whole"
            f" number of them: resize the images (resize = {near})"
        )
    return side, (height // side) * (width // side)


def stage_shapes(spec: ModelSpec) -> list[tuple[int, ...]]:
    """Output shape for one image after the stem, each stage, the pooling, its flattening, and the head.

    Arithmetic only, for those who do not load torch; a test holds it against the built modules.

    Returns:
        (channels, height, width), (units,) or (tokens, channels) each. Every stride of 2 rounds up, as padded
        convolutions do.

    Raises:
        ValueError: See `patches`.
    """
    row, (_, height, width) = LAYOUTS[spec.layout], spec.image
    stages = blocks_per_stage(spec.layout, spec.depth)
    if row.stem == "dense":
        return [(spec.width,), *((spec.width,) for _ in stages), (spec.classes,)]
    if row.stem == "patches":
        tokens = (patches(spec.layout, spec.image)[1], spec.width)
        return [tokens, tokens, (spec.width,), (spec.classes,)]
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
