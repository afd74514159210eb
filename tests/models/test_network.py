"""Every row of `ARCHITECTURES` runs in every layout, and a thousand layers are handled like eighteen."""

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.layouts import LAYOUTS, misfit, nearest_depths, stage_shapes
from models.network import Network, build, load_factory
from models.spec import ARCHITECTURES, ModelSpec

SMALLEST = {layout: nearest_depths(layout, 18)[0] if layout != "cifar-bottleneck" else 11 for layout in LAYOUTS}


def spec(name: str, layout: str = "four-stage", depth: int = 18, width: int = 4, side: int = 16) -> ModelSpec:
    return ModelSpec(ARCHITECTURES[name], layout, depth, width, (3, side, side), 5)


BUILT = [(name, layout) for name, row in ARCHITECTURES.items() for layout in LAYOUTS if not misfit(row, layout)]


@pytest.mark.parametrize(("name", "layout"), BUILT)
def test_forward_and_backward_reach_every_parameter(name: str, layout: str) -> None:
    network = build(spec(name, layout, SMALLEST[layout], side=32))
    logits = network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (4, 5)
    assert torch.isfinite(logits).all()
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", ["plain", "resnet", "preact"])
def test_a_step_lowers_the_loss(name: str) -> None:
    network = build(spec(name))
    x, y = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "layout", "depth"), [("preact", "four-stage", 1002), ("resnet", "cifar", 1202)])
def test_a_thousand_layers_train_copy_pickle_save_load_and_print(
    name: str, layout: str, depth: int, tmp_path: Path
) -> None:
    assert sys.getrecursionlimit() == 1000
    network = build(spec(name, layout, depth, width=2, side=4))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    F.cross_entropy(network(x), torch.tensor([0, 1])).backward()
    optimizer.step()
    network.eval()
    with torch.no_grad():
        expected = network(x)
        twin = copy.deepcopy(network)
        pickled = pickle.loads(pickle.dumps(network))
        torch.save(network.state_dict(), tmp_path / "net.pt")
        loaded = build(spec(name, layout, depth, width=2, side=4), device="meta").eval()
        loaded.load_state_dict(torch.load(tmp_path / "net.pt"), assign=True)
        whole = io.BytesIO()
        torch.save(network, whole)
        for other in (twin, pickled, loaded):
            assert torch.equal(other(x), expected)
    assert "Block" in repr(network)


def test_meta_builds_nothing() -> None:
    network = build(spec("resnet", depth=1002, width=64), device="meta")
    assert all(p.is_meta for p in network.parameters())


def test_stages_are_what_the_layout_says() -> None:
    network = build(spec("resnet", "imagenet", 34), device="meta")
    assert isinstance(network, Network)
    assert network.stages == (3, 4, 6, 3)
    assert [network.stage_of().count(s) for s in range(4)] == [3, 4, 6, 3]
    # The first block of each later stage halves the maps; nothing else does.
    strides = [block.branch[0].stride[0] for block in network.blocks]  # type: ignore[union-attr, index]
    assert [i for i, stride in enumerate(strides) if stride == 2] == [3, 7, 13]


_ANY_SIZE = [("four-stage", 34), ("imagenet", 18), ("imagenet", 50), ("cifar-bottleneck", 20), ("dense", 7)]


@pytest.mark.parametrize(
    ("name", "layout", "depth", "size"),
    [
        *(("preact", *net, size) for net in _ANY_SIZE for size in [(8, 8), (9, 13), (96, 96), (225, 224)]),
        *(("pre-norm", "transformer", 6, size) for size in [(8, 8), (28, 28), (12, 8), (224, 256)]),
        ("dense-swish", "dense-four", 10, (9, 13)),
    ],
)
def test_shapes_by_arithmetic_are_those_of_the_modules(
    name: str, layout: str, depth: int, size: tuple[int, int]
) -> None:
    spec = ModelSpec(ARCHITECTURES[name], layout, depth, 8, (3, *size), 10)
    network = build(spec, device="meta")
    assert isinstance(network, Network)
    with torch.no_grad():
        x = network.stem(torch.empty(2, 3, *size, device="meta"))
        seen = [tuple(x.shape[1:])]
        for stage in range(len(network.stages)):
            for block, of in zip(network.blocks, network.stage_of(), strict=True):
                x = block(x) if of == stage else x
            seen.append(tuple(x.shape[1:]))
    pooled = [(x.shape[2],)] if x.dim() == 3 else [] if network.dense else [(x.shape[1], 1, 1), (x.shape[1],)]
    assert stage_shapes(spec) == [*seen, *pooled, (10,)]


def test_no_activation_is_in_place() -> None:
    for name in ARCHITECTURES:
        assert not any(getattr(m, "inplace", False) for m in build(spec(name), device="meta").modules())


@pytest.mark.parametrize("name", ["nowhere_at_all:block", "math:nothing", "math:pi", "math:", ":sin"])
def test_a_factory_that_cannot_be_had_is_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="cannot load architecture") as caught:
        load_factory(name)
    assert "\n" not in str(caught.value)


def test_dense_nets_normalise_before_the_head() -> None:
    for name in ("plain", "resnet", "preact"):
        network = build(spec(name, "dense", 18), device="meta")
        assert isinstance(network.final, nn.Sequential)
        assert isinstance(network.final[0], nn.BatchNorm1d), name


def test_specs_do_not_load_torch() -> None:
    code = "import sys, models.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
