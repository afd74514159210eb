"""Initial values: from (seed, name), of the distributions that the papers give."""

import math

import pytest
import torch
from torch import Tensor, nn

from models.initial import CRITICAL_BIAS, CRITICAL_GAIN, INITS
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec

IMAGE = (1, 8, 8)


def values(name: str, depth: int = 18, seed: int = 0, width: int = 8, layout: str = "four-stage") -> dict[str, Tensor]:
    network = build(ModelSpec(ARCHITECTURES[name], layout, depth, width, IMAGE, 10), seed)
    return dict(network.state_dict())


@pytest.mark.parametrize("layout", ["four-stage", "cifar", "imagenet", "dense"])
def test_twins_have_equal_counts_and_equal_initial_weights(layout: str) -> None:
    depth = 20 if layout == "cifar" else 18
    plain, residual = values("plain", depth, layout=layout), values("resnet", depth, layout=layout)
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[k], residual[k]) for k in plain)


def test_convolutions_that_architectures_share_start_equal() -> None:
    plain = values("plain")
    for name in ("preact", "resnet-b", "resnet-c", "bn-after-add", "relu-only-preact"):
        other = values(name)
        shared = [k for k in plain if "conv" in k or k.startswith("head")]
        assert len(shared) == 19
        assert all(torch.equal(plain[k], other[k]) for k in shared), name


def test_a_seed_decides_and_the_order_of_building_does_not() -> None:
    first = values("resnet", seed=3)
    torch.manual_seed(99)
    values("preact", 34, seed=5)
    again, other = values("resnet", seed=3), values("resnet", seed=4)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_building_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    values("resnet")
    assert torch.equal(torch.rand(3), expected)


def test_he_fan_out_has_its_variance() -> None:
    weight = INITS["he-fan-out"](torch.empty(64, 32, 3, 3), torch.Generator().manual_seed(0))
    assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.03)
    assert abs(weight.mean().item()) < 4 * math.sqrt(2 / (64 * 9) / weight.numel())


def test_xavier_is_torchs() -> None:
    weight = INITS["xavier"](torch.empty(64, 32, 3, 3), torch.Generator().manual_seed(0))
    theirs = nn.init.xavier_uniform_(torch.empty(64, 32, 3, 3), generator=torch.Generator().manual_seed(0))
    assert weight.var().item() == pytest.approx(theirs.var().item(), rel=0.03)
    assert weight.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=1e-3)


def test_zero_last_is_zero_there_and_nowhere_else() -> None:
    zero, usual = values("resnet-zero"), values("resnet")
    changed = {k for k in usual if not torch.equal(zero[k], usual[k])}
    assert changed == {f"blocks.{i}.branch.norm2.weight" for i in range(8)}
    assert not any(zero[k].any() for k in changed)


def test_delta_orthogonal_is_an_isometry_at_the_centre_tap() -> None:
    weight = INITS["delta-orthogonal"](torch.empty(16, 16, 3, 3), torch.Generator().manual_seed(0))
    centre = weight[:, :, 1, 1] / math.sqrt(CRITICAL_GAIN)
    torch.testing.assert_close(centre @ centre.T, torch.eye(16), atol=1e-5, rtol=0)
    weight[:, :, 1, 1] = 0
    assert not weight.any()


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (16, 8, 3, 3), (64, 3, 7, 7), (64, 1, 7, 7), (8, 16)])
def test_where_channels_change_rows_or_columns_are_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = INITS["delta-orthogonal"](torch.empty(shape), torch.Generator().manual_seed(0)).flatten(1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(small, CRITICAL_GAIN * torch.eye(len(small)), atol=1e-5, rtol=0)


def test_the_chosen_variances_are_critical_for_tanh() -> None:
    """Xiao et al. 2018, the fixed point q* of the variance map, and chi_1 = weight variance x E[tanh'^2] there."""
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    gauss = torch.exp(-z * z / 2)
    gauss /= gauss.sum()
    q = 0.03
    for _ in range(3000):
        q = CRITICAL_GAIN * float((gauss * torch.tanh(math.sqrt(q) * z) ** 2).sum()) + CRITICAL_BIAS
    chi = CRITICAL_GAIN * float((gauss * (1 - torch.tanh(math.sqrt(q) * z) ** 2) ** 2).sum())
    assert chi == pytest.approx(1.0, abs=2e-3)


def test_gradients_of_delta_orthogonal_nets_neither_vanish_nor_explode() -> None:
    network = build(ModelSpec(ARCHITECTURES["plain-orthogonal"], "four-stage", 130, 8, IMAGE, 10))
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network(x).logsumexp(1).sum().backward()
    norms = [float(m.weight.grad.norm()) for m in network.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[union-attr]
    assert 0.1 < norms[0] / norms[-1] < 10
    assert min(norms) > 0.01 * max(norms)
