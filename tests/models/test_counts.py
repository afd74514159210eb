"""Parameters and depth, counted from the built modules and worked out by formulas written here."""

from itertools import pairwise

import pytest
from torch import nn

from models.blocks import Shortcut, weighted
from models.layouts import LAYOUTS, blocks_per_stage, misfit, nearest_depths
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec

CIFAR = (3, 32, 32)
BUILT = [(name, layout) for name, row in ARCHITECTURES.items() for layout in LAYOUTS if not misfit(row, layout)]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def made(
    name: str, layout: str, depth: int, width: int, image: tuple[int, int, int] = CIFAR, classes: int = 10
) -> nn.Module:
    return build(ModelSpec(ARCHITECTURES[name], layout, depth, width, image, classes), device="meta")


def two_layer_count(stages: int, n: int, w: int, c: int, classes: int, projections: bool) -> int:
    """3x3 stem, `stages` stages of n two-layer blocks, BatchNorm after each convolution, a linear head."""
    total = 9 * c * w + 2 * w
    widths = [w] + [w << s for s in range(stages)]
    for before, width in pairwise(widths):
        total += 9 * before * width + (2 * n - 1) * 9 * width * width + 2 * n * 2 * width
        if projections and before != width:
            total += before * width + 2 * width
    return total + widths[-1] * classes + classes


def bottleneck_count(n: int, w: int, c: int, classes: int) -> int:
    """Three stages of n bottlenecks (1x1, 3x3, 1x1 to four times the width), pre-activation, shortcut A.

    The first block's first normalisation is the stem's, and a last one of the widest maps stands before the head.
    """
    total, before = 9 * c * w + 2 * w, w
    for stage in range(3):
        m = w << stage
        for i in range(n):
            total += before * m + 9 * m * m + m * 4 * m + 2 * (m + m)
            total += 0 if stage == i == 0 else 2 * before
            before = 4 * m
    return total + 2 * before + before * classes + classes


@pytest.mark.parametrize(
    ("name", "depth", "count"),
    [
        # docs/design.md, "The networks".
        ("resnet", 20, 269_722),
        ("resnet", 56, 853_018),
        ("resnet", 110, 1_727_962),
        ("resnet", 1202, 19_421_274),
        ("resnet-b", 20, 272_474),
        ("resnet-b", 56, 855_770),
        ("resnet-b", 110, 1_730_714),
    ],
)
def test_published_counts_of_the_cifar_nets(name: str, depth: int, count: int) -> None:
    assert parameters(made(name, "cifar", depth, 16)) == count


@pytest.mark.parametrize(
    ("depth", "width", "channels"), [(18, 8, 1), (34, 16, 3), (66, 8, 1), (130, 4, 1), (258, 16, 3), (1002, 8, 1)]
)
@pytest.mark.parametrize("name", ["plain", "resnet", "resnet-b"])
def test_four_stage_counts_follow_the_formula(name: str, depth: int, width: int, channels: int) -> None:
    expected = two_layer_count(4, (depth - 2) // 8, width, channels, 10, name == "resnet-b")
    assert parameters(made(name, "four-stage", depth, width, (channels, 8, 8))) == expected


@pytest.mark.parametrize(("depth", "width"), [(20, 16), (32, 16), (44, 8), (110, 16)])
def test_cifar_counts_follow_the_formula(depth: int, width: int) -> None:
    for name in ("plain", "resnet", "bn-after-add", "relu-before-add", "resnet-half", "resnet-dropout"):
        assert parameters(made(name, "cifar", depth, width, classes=100)) == two_layer_count(
            3, (depth - 2) // 6, width, 3, 100, False
        ), name


@pytest.mark.parametrize(("depth", "width"), [(20, 16), (110, 16), (38, 8)])
def test_preactivation_moves_one_normalisation_per_shape(depth: int, width: int) -> None:
    """Every branch normalises its input, not its output: stages 2 and 3 start on fewer channels, plus one last."""
    post = two_layer_count(3, (depth - 2) // 6, width, 3, 10, False)
    moved = -2 * width - 2 * 2 * width - 2 * 4 * width + 2 * width + 2 * 2 * width + 2 * 4 * width
    assert parameters(made("preact", "cifar", depth, width)) == post + moved


@pytest.mark.parametrize("depth", [164, 1001, 29])
def test_bottleneck_counts_follow_the_formula(depth: int) -> None:
    assert parameters(made("preact", "cifar-bottleneck", depth, 16)) == bottleneck_count((depth - 2) // 9, 16, 3, 10)


# He et al. 2015, table 1, as torchvision's model pages state them.
@pytest.mark.parametrize(
    ("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)]
)
def test_imagenet_counts_are_the_published_ones(depth: int, count: int) -> None:
    assert parameters(made("resnet-b", "imagenet", depth, 64, (3, 224, 224), 1000)) == count


def test_the_documents_network_has_its_count() -> None:
    assert parameters(made("document", "imagenet", 18, 64, (1, 96, 96))) == 11_178_378


@pytest.mark.parametrize("depth", [3, 4, 18, 19, 66, 1002])
def test_dense_counts_follow_the_formula(depth: int) -> None:
    w, layers = 32, depth - 2
    expected = (64 * w + 2 * w) + layers * (w * w + 2 * w) + 2 * w + (w * 10 + 10)
    assert parameters(made("resnet", "dense", depth, w, (1, 8, 8))) == expected
    assert parameters(made("plain", "dense", depth, w, (1, 8, 8))) == expected


@pytest.mark.parametrize(("depth", "w"), [(6, 32), (18, 32), (258, 16), (1002, 8)])
def test_four_layer_dense_blocks_follow_the_formula(depth: int, w: int) -> None:
    """Every layer: weights, bias, LayerNorm. The stem too; a last LayerNorm before the head."""
    layers = depth - 2
    expected = (64 * w + w + 2 * w) + layers * (w * w + w + 2 * w) + 2 * w + (w * 10 + 10)
    assert parameters(made("dense-swish", "dense-four", depth, w, (1, 8, 8))) == expected


@pytest.mark.parametrize(("depth", "w", "image"), [(4, 16, (1, 8, 8)), (18, 16, (1, 8, 8)), (258, 8, (3, 32, 32))])
def test_transformer_counts_follow_the_formula(depth: int, w: int, image: tuple[int, int, int]) -> None:
    """Per pair of sublayers: twelve squares of the width, their biases, two LayerNorms."""
    pairs, (channels, side, _) = (depth - 2) // 2, image
    patch = side // 4  # these sides are powers of two
    stem = channels * patch * patch * w + w + 16 * w
    attention, mlp = 4 * w * w + 4 * w, 8 * w * w + 5 * w
    expected = stem + pairs * (attention + mlp + 4 * w) + 2 * w + (w * 10 + 10)
    for name in ("pre-norm", "pre-norm-scaled", "transformer-plain"):
        assert parameters(made(name, "transformer", depth, w, image)) == expected, name
    # Post-norm has no last LayerNorm of its own: the last sublayer's stands there.
    assert parameters(made("post-norm", "transformer", depth, w, image)) == expected - 2 * w


def depth_of(network: nn.Module) -> int:
    """Weighted layers on the main path; shortcuts and gates are not counted, and a transformer's sublayer is one."""
    if weighted(network):
        return 1
    return sum(depth_of(module) for name, module in network.named_children() if name not in ("shortcut", "gate"))


@pytest.mark.parametrize(("name", "layout"), BUILT)
def test_depth_is_the_number_of_weighted_layers(name: str, layout: str) -> None:
    for depth in {nearest_depths(layout, near)[0] for near in (1, 20, 34, 56)}:
        network = made(name, layout, depth, 4)
        assert depth_of(network) == depth, (name, layout, depth)
        main = [m for k, m in network.named_modules() if ".shortcut" not in k and not k.endswith(".gate")]
        linear = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in main)
        # An attention or MLP sublayer holds two linear maps.
        assert linear == (2 * (depth - 2) + 2 if layout == "transformer" else depth)


@pytest.mark.parametrize(
    ("name", "layout", "depth"),
    [("plain", "four-stage", 1002), ("preact", "cifar-bottleneck", 1001), ("resnet", "four-stage", 10_002)],
)
def test_a_thousand_layers_are_a_thousand(name: str, layout: str, depth: int) -> None:
    assert depth_of(made(name, layout, depth, 2)) == depth


def test_plain_nets_have_no_shortcut_and_residual_ones_one_per_block_or_gated_layer() -> None:
    for name, row in ARCHITECTURES.items():
        network = made(name, "four-stage", 34, 4)
        with_shortcut = [m for k, m in network.named_modules() if k.endswith(".shortcut")]
        expected = 0 if not row.residual else 32 if row.join == "gate" else 16
        assert len([m for m in with_shortcut if m is not None]) == expected, name
    projections = [m for m in made("resnet-c", "cifar", 20, 4).modules() if isinstance(m, Shortcut)]
    assert not projections


@pytest.mark.parametrize("layout", LAYOUTS)
def test_impossible_depths_are_refused_with_the_nearest(layout: str) -> None:
    for depth in (0, -8, 1, 2, 10**9):
        with pytest.raises(ValueError, match="Nearest"):
            blocks_per_stage(layout, depth)
    for bad in (18.0, True, "18", None):
        with pytest.raises(ValueError, match="whole number"):
            blocks_per_stage(layout, bad)  # type: ignore[arg-type]
