"""A block's shapes, its identity when its branch is zero, and the convolution that skips padding."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.plan.checkout import ROOT
from models.blocks import Block, Conv1x1, Conv3x3, Shortcut, sequence, zero_branch
from models.network import Network, build
from models.spec import ARCHITECTURES, PLACEMENTS, ModelSpec

CONV_NETS = list(ARCHITECTURES)


def block(name: str, c_in: int, c_out: int, stride: int, layers: int = 2, dense: bool = False) -> Block:
    torch.manual_seed(0)
    return Block(ARCHITECTURES[name], c_in, c_out // 4 if layers == 3 else c_out, c_out, stride, layers, dense)


def test_the_documents_two_example_blocks_have_its_shapes() -> None:
    x = torch.rand(4, 3, 6, 6)
    assert block("document", 3, 3, 1)(x).shape == (4, 3, 6, 6)  # `block-same`
    assert block("document", 3, 6, 2)(x).shape == (4, 6, 3, 3)  # `block-half`


def test_the_documents_shortcut_is_a_biased_convolution_without_normalisation() -> None:
    shortcut = block("document", 3, 6, 2).shortcut
    assert isinstance(shortcut, nn.Conv2d)
    assert shortcut.kernel_size == (1, 1)
    assert shortcut.stride == (2, 2)
    assert shortcut.bias is not None


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("name", CONV_NETS)
def test_shapes_in_and_out(name: str, layers: int) -> None:
    for side in (1, 5, 8):
        x = torch.rand(2, 8, side, side)
        assert block(name, 8, 8, 1, layers)(x).shape == x.shape
        half = -(-side // 2)
        assert block(name, 8, 16, 2, layers)(x).shape == (2, 16, half, half)
    assert block(name, 8, 16, 1, dense=True)(torch.rand(3, 8)).shape == (3, 16)


# Rows whose unit is f(x) = x + g(x), with ReLU after the addition or not (He et al. 2016, equations 1 to 3).
IDENTITY = ["resnet", "resnet-b", "resnet-zero", "document", "preact", "relu-before-add", "relu-only-preact"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", IDENTITY)
def test_a_constant_width_stage_with_zeroed_branches_is_the_identity(name: str, training: bool) -> None:
    network = build(ModelSpec(ARCHITECTURES[name], "cifar", 44, 8, (3, 8, 8), 10))
    assert isinstance(network, Network)
    stage = [m for m, at in zip(network.blocks, network.stage_of(), strict=True) if at == 0]
    assert len(stage) == 7
    x = y = torch.randn(2, 8, 8, 8)
    for part in stage:
        assert isinstance(part, Block)
        zero_branch(part)
        y = part.train(training)(y)
    # Post-activation: each block ends in ReLU, which leaves what is not negative alone.
    expected = x.relu() if PLACEMENTS[ARCHITECTURES[name].placement].after else x
    assert torch.equal(y, expected)


def test_zeroed_branches_leave_the_rest_of_the_shortcut_kinds_what_they_are() -> None:
    x = torch.rand(2, 8, 4, 4)
    for name, expected in (("plain", torch.zeros_like(x)), ("resnet-half", 0.5 * x), ("resnet-dropout", x)):
        part = block(name, 8, 8, 1).eval()
        zero_branch(part)
        assert torch.equal(part(x), expected), name
    # BatchNorm on the shared path is no identity: the point of He et al. 2016, section 4.1.
    part = block("bn-after-add", 8, 8, 1)
    zero_branch(part)
    assert torch.allclose(part(x), F.batch_norm(x, None, None, training=True).relu(), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", "preact", "resnet-zero"])
def test_a_zeroed_branch_still_learns(name: str) -> None:
    part = block(name, 8, 8, 1)
    zero_branch(part)
    part(torch.randn(4, 8, 4, 4)).square().sum().backward()
    last = part.last_factor()
    assert isinstance(last.weight, Tensor)
    assert last.weight.grad is not None
    assert last.weight.grad.abs().sum() > 0


def test_option_a_subsamples_and_pads_with_zero_channels() -> None:
    x = torch.rand(2, 3, 5, 5)
    y = Shortcut(3, 7, 2)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert not y[:, 3:].any()
    assert y.shape[1] == 7
    assert Shortcut(3, 3, 1)(x) is x


def test_a_shortcuts_dropout_is_for_training_only() -> None:
    x = torch.ones(1, 1, 50, 50)
    shortcut = Shortcut(1, 1, 1, dropout=0.5)
    assert set(shortcut(x).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(shortcut.eval()(x), x)


def test_placements_join_the_shortcut_where_the_paper_says() -> None:
    """The order of operations on the path from a block's input to its output, and what stands after the addition."""
    orders = {}
    for name in ("resnet", "bn-after-add", "relu-before-add", "relu-only-preact", "preact"):
        part = block(name, 4, 4, 1)
        kinds = {"Conv3x3": "conv", "BatchNorm2d": "bn", "ReLU": "relu"}
        branch = [kinds[type(m).__name__] for m in [*part.before, *part.branch]]
        orders[name] = (" ".join(branch), " ".join(kinds[type(m).__name__] for m in part.after))
    assert orders == {  # He et al. 2016, figure 4, a to e
        "resnet": ("conv bn relu conv bn", "relu"),
        "bn-after-add": ("conv bn relu conv", "bn relu"),
        "relu-before-add": ("conv bn relu conv bn relu", ""),
        "relu-only-preact": ("relu conv bn relu conv bn", ""),
        "preact": ("bn relu conv bn relu conv", ""),
    }


def test_a_projection_sees_the_preactivated_input() -> None:
    row = replace(ARCHITECTURES["preact"], shortcut="C")
    torch.manual_seed(0)
    part = Block(row, 4, 4, 4)
    zero_branch(part)
    assert part.shortcut is not None
    x = torch.randn(3, 4, 4, 4)
    assert torch.equal(part(x), part.shortcut(part.before(x)))


def check_convolution(conv: nn.Conv2d, side: int, stride: int, padding: int) -> None:
    """Outputs and gradients are those of torch's own convolution, in float64."""
    x = torch.randn(4, 3, side, side, dtype=torch.float64, requires_grad=True)
    ours, full = conv(x), F.conv2d(x, conv.weight, conv.bias, stride, padding)
    assert ours.shape == full.shape
    torch.testing.assert_close(ours, full)
    upstream = torch.randn_like(full)
    inputs = [x, *conv.parameters()]
    mine, theirs = (torch.autograd.grad(y, inputs, upstream) for y in (ours, full))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (2, 2), (5, 1)])
def test_the_centre_tap_equals_the_full_convolution(side: int, stride: int, bias: bool) -> None:
    torch.manual_seed(1)
    conv = Conv3x3(3, 5, stride, bias=bias).double()
    check_convolution(conv, side, stride, padding=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("side", "stride"), [(4, 1), (4, 2), (5, 2), (7, 3)])
def test_a_1x1_convolution_that_subsamples_first_equals_one_with_a_stride(side: int, stride: int, bias: bool) -> None:
    torch.manual_seed(1)
    conv = Conv1x1(3, 5, stride, bias=bias).double()
    check_convolution(conv, side, stride, padding=0)


NARROW = """
from bench.train.execution import Execution
from tests.made_step import step_of, trial

for name in ("resnet-b", "resnet-c", "preact-b"):
    for width in (2, 3, 4):
        step = step_of(trial(name, width=width, epochs=20), Execution())
        for _ in range(30):
            step()
"""


def test_nets_with_projections_of_few_channels_do_not_corrupt_memory() -> None:
    """With strided 1x1 convolutions this aborts on an AMD EPYC without AVX-512; elsewhere it never did."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", NARROW]
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("field", "name"), [("norm", "instance"), ("activation", "softplus")])
def test_an_unknown_normalisation_or_activation_is_refused(field: str, name: str) -> None:
    row = replace(ARCHITECTURES["resnet"], **{field: name})
    with pytest.raises(ValueError, match=f"unknown {field} '{name}'"):
        sequence(row, ("norm", "act"), 4, dense=False)
