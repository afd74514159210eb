"""Designs of residual nets beside the plain sum: what their papers promise of the first step, and what they count."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.blocks import Block
from models.joins import STREAMS, HighwayLayer, StreamBlock
from models.layouts import FROM, nearest_depths
from models.network import Network, build
from models.parts import Gain, Survival, Times
from models.spec import ARCHITECTURES, ModelSpec

DEPTH, BLOCKS, WIDTH = 34, 16, 8


def net(name: str, depth: int = DEPTH, seed: int = 0) -> Network:
    network = build(ModelSpec(ARCHITECTURES[name], "four-stage", depth, WIDTH, (1, 8, 8), 10), seed)
    assert isinstance(network, Network)
    return network


def images(n: int = 16) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def through_blocks(network: Network, x: Tensor) -> list[Tensor]:
    x = network.stem(x)
    found = [x]
    for block in network.blocks:
        found.append(block(found[-1]))
    return found


@pytest.mark.parametrize("name", ["rezero-bn", "skipinit", "fixup", "resnet-zero", "preact-zero"])
def test_a_net_that_starts_at_the_identity_is_its_shortcuts(name: str) -> None:
    """ReZero, equation 1; SkipInit; Fixup, rule 1: every branch gives zero at the start."""
    network = net(name)
    x = network.stem(images())
    for block, got in zip(network.blocks, through_blocks(network, images())[1:], strict=True):
        assert isinstance(block, Block)
        assert block.shortcut is not None
        x = block.shortcut(x)
        assert torch.equal(got, x), name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_row_says_whether_its_net_draws_in_training(name: str) -> None:
    """Then several seeds of it cannot run in one process."""
    layout = FROM.get(name, "four-stage")
    depth = nearest_depths(layout, 1)[0]
    network = build(ModelSpec(ARCHITECTURES[name], layout, depth, WIDTH, (1, 8, 8), 10), 0).train()
    before = torch.get_rng_state()
    network(images())
    assert ARCHITECTURES[name].draws is not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["rezero-bn", "skipinit"])
def test_after_one_step_of_the_gains_the_branches_learn(name: str) -> None:
    network = net(name)
    for turn in range(2):
        network.zero_grad()
        nn.functional.cross_entropy(network(images()), torch.arange(16) % 10).backward()
        weights = [m.weight.grad.abs().sum() for m in network.blocks.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[union-attr]
        gains = [m for m in network.modules() if isinstance(m, Gain)]
        assert len(gains) == BLOCKS
        assert all(g.weight.grad is not None and g.weight.grad.abs().sum() > 0 for g in gains)
        assert all(w > 0 for w in weights) if turn else all(w == 0 for w in weights)
        with torch.no_grad():
            for gain in gains:
                gain.weight -= 0.1 * gain.weight.grad


WIDTHS = [WIDTH << stage for stage in range(4)]
STEPS = list(zip([WIDTH, *WIDTHS[:-1]], WIDTHS, strict=True))  # channels into a stage, and in it
CONVS = 2 * BLOCKS // 4  # of a stage
KERNELS = 9 * WIDTH + sum(9 * old * new + (CONVS - 1) * 9 * new * new for old, new in STEPS)
HEAD = WIDTHS[-1] * 10 + 10
# Channels that norms see, over the net: after each convolution; or before each in a block, and before the head (the
# stem's norm is that of the first block).
AFTER = WIDTH + sum(CONVS * new for new in WIDTHS)
BEFORE = sum(old + (CONVS - 1) * new for old, new in STEPS) + WIDTHS[-1]
ENDS = sum(BLOCKS // 4 * new for new in WIDTHS)  # outputs of all branches


@pytest.mark.parametrize(("name", "beside"), [
    # What there is beside kernels and head. BatchNorm, LayerNorm and group normalisation have two numbers per channel.
    ("resnet-zero", 2 * AFTER),
    ("stochastic-depth", 2 * AFTER),
    ("rezero-bn", 2 * AFTER + BLOCKS),  # Bachlechner et al. 2020: one number per branch
    ("preact-zero", 2 * BEFORE),
    ("preact-sqrt", 2 * BEFORE),
    ("preact-depth", 2 * BEFORE),
    ("preact-layer", 2 * BEFORE),
    ("preact-group", 2 * BEFORE),
    ("preact-rms", BEFORE),  # Zhang and Sennrich 2019: a gain, no bias
    ("layerscale", 2 * BEFORE + ENDS),  # Touvron et al. 2021: one number per channel of a branch
    ("preact-none", AFTER),  # each convolution's bias
    ("skipinit", AFTER + BLOCKS),  # De and Smith 2020: one number per branch
    ("fixup", 5 * BLOCKS + 2),  # four biases and a gain per block, one after the stem, one before the head
    ("highway", AFTER + KERNELS - 9 * WIDTH + AFTER - WIDTH),  # a gate per layer, of the layer's size
    ("hyper", 2 * BEFORE + BLOCKS * (STREAMS + STREAMS + STREAMS**2)),  # to read, to write, to mix
    ("mhc", 2 * BEFORE + BLOCKS * (STREAMS + STREAMS + STREAMS**2)),
])  # fmt: skip
def test_parameters_of_each_design(name: str, beside: int) -> None:
    """By formula, from what the papers add to the plain sum."""
    assert sum(p.numel() for p in net(name).parameters()) == KERNELS + HEAD + beside


def test_fixup_scales_the_first_convolution_and_its_head_is_zero() -> None:
    """Zhang et al. 2019, section 3: L^(-1/(2m-2)), which is L^(-1/2) for two layers."""
    ours, usual = net("fixup"), net("resnet")
    for block, other in zip(ours.blocks, usual.blocks, strict=True):
        assert torch.allclose(block.branch.conv1.weight, other.branch.conv1.weight / BLOCKS**0.5)  # type: ignore[union-attr, operator]
        assert not block.branch.conv2.weight.any()  # type: ignore[union-attr, operator]
    assert not any(p.any() for p in ours.head.parameters())
    assert torch.equal(ours(images()), torch.zeros(16, 10))


def test_fixups_operations_stand_in_its_papers_order() -> None:
    block = net("fixup").blocks[3]
    assert isinstance(block, Block)
    names = [type(m).__name__ for m in block.branch]
    assert names == ["Bias", "Conv3x3", "Bias", "ReLU", "Bias", "Conv3x3", "Gain", "Bias"]
    assert [type(m).__name__ for m in block.after] == ["ReLU"]
    assert not len(block.before)


@pytest.mark.parametrize(("name", "depth", "factor"), [
    ("preact-sqrt", 18, 8**-0.5), ("preact-sqrt", 258, 128**-0.5), ("preact-depth", 18, 1.0),
    ("preact-depth", 66, 0.25), ("preact-depth", 1002, 8 / 500),
])  # fmt: skip
def test_branches_are_scaled_by_depth(name: str, depth: int, factor: float) -> None:
    network = build(ModelSpec(ARCHITECTURES[name], "four-stage", depth, 4, (1, 8, 8), 10), device="meta")
    times = [m.factor for m in network.modules() if isinstance(m, Times)]
    assert times == pytest.approx([factor] * ((depth - 2) // 2))


@pytest.mark.parametrize(("depth", "start"), [(18, 0.1), (66, 0.1), (98, 1e-5), (258, 1e-6)])
def test_layer_scale_begins_as_small_as_the_depth_asks(depth: int, start: float) -> None:
    spec = ModelSpec(ARCHITECTURES["layerscale"], "four-stage", depth, 4, (1, 8, 8), 10)
    gains = [m for m in build(spec).modules() if isinstance(m, Gain)]
    assert [g.weight.shape[0] for g in gains[:: len(gains) // 4]] == [4, 8, 16, 32]
    assert all(torch.equal(g.weight, torch.full_like(g.weight, start)) for g in gains)


def test_stochastic_depth_keeps_a_whole_batch_or_none_and_less_the_deeper() -> None:
    """Huang et al. 2016, equation 4: 1 - l/L (1 - 0.5)."""
    network = net("stochastic-depth")
    kept = [m.probability for m in network.modules() if isinstance(m, Survival)]
    assert kept == pytest.approx([1 - (i + 1) / BLOCKS * 0.5 for i in range(BLOCKS)])
    last = Survival(0.5)
    torch.manual_seed(0)
    draws = torch.stack([last(torch.ones(4)) for _ in range(400)])
    assert ((draws == 0).all(1) | (draws == 1).all(1)).all()
    assert 0.4 < float(draws[:, 0].mean()) < 0.6
    assert torch.equal(last.eval()(torch.ones(4)), torch.full((4,), 0.5))


@pytest.mark.parametrize(("name", "axes"), [("preact-layer", (1, 2, 3)), ("preact-rms", (1, 2, 3))])
def test_norms_of_one_image_do_not_see_the_others(name: str, axes: tuple[int, ...]) -> None:
    network = net(name)
    x = images()
    assert torch.allclose(network(x)[:3], network(x[:3]), atol=1e-5)
    norm = network.blocks[1].before.norm  # type: ignore[union-attr]
    y = norm(torch.randn(5, WIDTH, 8, 8) * 3 + 1)  # type: ignore[operator]
    size = y.square().mean(axes)
    assert torch.allclose(size, torch.ones(5), atol=1e-3)
    assert torch.allclose(y.mean(axes), torch.zeros(5), atol=1e-5) == (name == "preact-layer")


def test_groups_have_sixteen_channels_or_all_there_are() -> None:
    norms = [m for m in net("preact-group").modules() if isinstance(m, nn.GroupNorm)]
    assert {(m.num_channels, m.num_groups) for m in norms} == {(8, 1), (16, 1), (32, 2), (64, 4)}


def test_an_unknown_norm_is_refused() -> None:
    row = replace(ARCHITECTURES["preact"], norm="laver")
    with pytest.raises(ValueError, match="unknown norm 'laver'"):
        build(ModelSpec(row, "four-stage", 18, 4, (1, 8, 8), 10))


def test_a_highway_layer_is_between_its_input_and_what_it_computes() -> None:
    """Srivastava et al. 2015, equation 3; closed gates carry the input, open ones replace it."""
    layer = net("highway").blocks[2].layers[0]  # type: ignore[union-attr, index]
    assert isinstance(layer, HighwayLayer)
    x = torch.randn(4, WIDTH, 8, 8)
    assert torch.equal(layer.gate.bias, torch.full((WIDTH,), -4.0))
    with torch.no_grad():
        layer.gate.weight.zero_()  # type: ignore[operator]
        for bias, expected in ((-50.0, x), (50.0, layer.conv(x).relu()), (0.0, (x + layer.conv(x).relu()) / 2)):
            layer.gate.bias.fill_(bias)  # type: ignore[operator]
            assert torch.allclose(layer(x), expected, atol=1e-6)


def test_hyper_connections_begin_as_a_pre_activation_net() -> None:
    """Zhu et al. 2024, equation 14: the streams are alike, and their sum is `STREAMS` times the net without them."""
    ours, usual = net("hyper"), net("preact")
    names = {k.replace(".branch.branch.", ".branch.").replace(".branch.before.", ".before."): p
             for k, p in ours.named_parameters() if k.rpartition(".")[2] not in ("read", "write", "mix")}  # fmt: skip
    with torch.no_grad():
        for key, parameter in usual.named_parameters():
            parameter.copy_(names[key.replace("norm0", "norm")])
    streams = through_blocks(ours, images())
    for got, expected in zip(streams, through_blocks(usual, images()), strict=True):
        assert got.shape[1] == STREAMS
        assert torch.allclose(got, expected.unsqueeze(1).expand_as(got), atol=1e-4)


@pytest.mark.parametrize("name", ["hyper", "mhc"])
def test_streams_part_after_a_few_steps(name: str) -> None:
    network = net(name, depth=18)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images()), torch.arange(16) % 10).backward()
        optimizer.step()
    last = through_blocks(network, images())[-1]
    apart = (last - last.mean(1, keepdim=True)).abs().max()
    assert apart > 1e-4 * last.abs().max()


def test_balanced_mixtures_are_doubly_stochastic_whatever_was_learnt() -> None:
    """Xie et al. 2025, equation 8."""
    block = net("mhc").blocks[5]
    assert isinstance(block, StreamBlock)
    read, write, mix = block.mixture()
    assert torch.allclose(read.sum(), torch.tensor(1.0))
    assert torch.allclose(write, torch.ones(STREAMS))
    assert (mix.diagonal() > 0.94).all()
    with torch.no_grad():
        block.mix.copy_(torch.randn(STREAMS, STREAMS, generator=torch.Generator().manual_seed(0)) * 2)
    mix = block.mixture()[2]
    assert torch.allclose(mix.sum(0), torch.ones(STREAMS), atol=1e-3)
    assert torch.allclose(mix.sum(1), torch.ones(STREAMS), atol=1e-3)
    assert (mix > 0).all()
