"""Every row's gradient is that of what it computes, and a deep net of each residual one computes numbers."""

import pytest
import torch
from torch import Tensor

from models.layouts import FROM, nearest_depths
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec


def made(name: str, depth: int, width: int) -> tuple[torch.nn.Module, Tensor]:
    layout = FROM.get(name, "four-stage")
    near = nearest_depths(layout, depth)[0]
    network = build(ModelSpec(ARCHITECTURES[name], layout, near, width, (1, 8, 8), 3), seed=1)
    return network, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gradient_is_the_slope_of_the_loss(name: str) -> None:
    """Along a random direction through inputs and all parameters at once, beside a central difference, in doubles."""
    network, x = made(name, 10, 4)
    network, x = network.double().eval(), x.double()  # in eval mode nothing is drawn by chance
    generator = torch.Generator().manual_seed(2)
    values = [x, *network.parameters()]
    with torch.no_grad():
        for value in values:  # away from zeros and ones, where terms would hide
            value.add_(0.1 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
    direction = [torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in values]

    def loss() -> Tensor:
        return network(x).sin().sum()

    x.requires_grad_()
    loss().backward()
    slope = sum(float((value.grad * way).sum()) for value, way in zip(values, direction, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for value, way in zip(values, direction, strict=True):
                value.add_(step * way)
            ends.append(float(loss()))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", [name for name, row in ARCHITECTURES.items() if row.residual and name != "document"])
def test_a_deep_residual_net_computes_numbers_and_gradients(name: str) -> None:
    """At 258 layers, before any training: no output and no gradient leaves the range of a float."""
    network, x = made(name, 258, 4)
    logits = network(x)
    logits.logsumexp(1).sum().backward()
    assert torch.isfinite(logits).all()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
