"""The summary's numbers: the document's shapes, published FLOPs, and activations as a real forward pass keeps them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.measure import counted
from bench.cost.products import Products
from bench.cost.summary import image_size, rows, table
from bench.plan.trial import architecture
from models.layouts import LAYOUTS
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec


def spec(name: str, layout: str, depth: int, image: tuple[int, int, int], classes: int = 10) -> ModelSpec:
    return ModelSpec(ARCHITECTURES[name], layout, depth, LAYOUTS[layout].width, image, classes)


def test_the_documents_shapes_appear_as_they_stand_there() -> None:
    found = rows(build(spec("document", "imagenet", 18, (1, 224, 224)), device="meta"), (1, 224, 224))
    shapes = ["x".join(map(str, row.shape)) for row in found]
    assert shapes == ["64x56x56", "64x56x56", "128x28x28", "256x14x14", "512x7x7", "512x1x1", "512", "10"]
    text = table("document", 18, "1x224x224", layout="imagenet")
    assert all(f" {shape} " in text for shape in shapes)
    assert "11,178,378" in text
    assert "fvcore" in text


# torchvision's model pages, "GFLOPS" (multiply-adds counted once), at 3x224x224 and 1000 classes.
@pytest.mark.parametrize(("depth", "billions"), [(18, 1.814), (34, 3.664), (50, 4.089), (101, 7.801), (152, 11.514)])
def test_flops_are_the_published_ones(depth: int, billions: float) -> None:
    network = build(spec("resnet-b", "imagenet", depth, (3, 224, 224), 1000), device="meta")
    assert sum(row.macs for row in rows(network, (3, 224, 224))) / 1e9 == pytest.approx(billions, abs=6e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_saved_activations_and_shapes_are_those_of_a_real_forward_pass(name: str) -> None:
    """Part by part: the input of a part counts in it, too."""
    image = (3, 16, 16)
    found = rows(build(spec(name, "cifar", 20, image), device="meta"), image)
    network = build(spec(name, "cifar", 20, image))
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(2, *image)
    for row, part in zip(found, [network.stem, *stages(network)], strict=False):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            x = part(x)
        assert tuple(x.shape[1:]) == row.shape
        # A dropout mask is kept as booleans or floats, as the device likes.
        real = sum(t.untyped_storage().nbytes() for t in kept.values()) // 2
        # Streams begin as one tensor seen four times; here the first stage is measured on four.
        near = 0.25 if name == "resnet-dropout" else 0.1 if name in ("hyper", "mhc") and row.name == "stage 1" else 0.01
        assert row.saved_bytes == pytest.approx(real, rel=near), row.name
        x = x.detach().requires_grad_()


def test_a_transformers_multiply_adds_follow_the_formula() -> None:
    """Twelve squares of the width per token and pair of sublayers, and two products of tokens with tokens."""
    w, tokens, pairs = 16, 16, 8
    found = {
        row.name: row for row in rows(build(spec("pre-norm", "transformer", 18, (1, 8, 8)), device="meta"), (1, 8, 8))
    }
    assert found["stage 1"].macs == pairs * (12 * w * w * tokens + 2 * tokens * tokens * w)
    assert found["stage 1"].detail == "8 x (attention, 2 heads, MLP, 64)"
    assert [found[name].shape for name in ("stem", "stage 1", "pool", "head")] == [(16, 16), (16, 16), (16,), (10,)]


def stages(network: nn.Module) -> list[nn.Sequential]:
    blocks = list(network.blocks)  # type: ignore[arg-type]
    return [nn.Sequential(*blocks[i : i + 3]) for i in (0, 3, 6)]


@pytest.mark.parametrize("name", ["resnet-c", "preact", "document"])
def test_multiply_adds_are_those_that_the_cost_of_a_step_is_told_by(name: str) -> None:
    """`profiling` counts with torch's own counter, at two a multiply-add: the page and the summary must agree."""
    network = build(spec(name, "four-stage", 18, (1, 8, 8)), device="meta")
    found = rows(network, (1, 8, 8))
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(2, 1, 8, 8, device="meta"))
    assert counter.get_total_flops() == 2 * 2 * sum(row.macs for row in found)


def test_flops_of_a_layer_by_hand() -> None:
    found = rows(build(spec("plain", "cifar", 8, (3, 8, 8)), device="meta"), (3, 8, 8))
    macs = [row.macs for row in found]
    later = [4 * 4 * 32 * (144 + 288), 2 * 2 * 64 * (288 + 576)]
    assert macs == [8 * 8 * 16 * 27, 2 * 8 * 8 * 16 * 144, *later, 0, 0, 640]


def test_a_network_without_parts_is_one_row() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(12, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.gelu(self.linear(x.flatten(1)))

    with torch.device("meta"):
        (row,) = rows(Own(), (3, 2, 2))
    assert (row.shape, row.macs, row.parameters) == ((5,), 60, 65)


def test_a_thousand_layers_take_seconds_and_no_weights(tmp_path: Path) -> None:
    """In a process of its own, imports included; CPU time, of which a neighbour on the same core may double the 6 s."""
    command = [sys.executable, "-m", "bench", "summary", "resnet", "--depth=1002", "--input=3x32x32", "--width=64"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said").open("w") as out:
        process = subprocess.Popen(command, stdout=out, env=environment)
        # Of this child alone: another test's may have been larger.
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert "782,298,698" in (tmp_path / "said").read_text()  # 3.1 GB, were they allocated
    assert used.ru_maxrss < 1.5e6  # kB
    assert used.ru_utime + used.ru_stime < 14


@pytest.mark.parametrize("text", ["", "3", "3x32", "3x32x32x1", "0x8x8", "-1x8x8", "3x8xx8", "1e3x8x8"])
def test_image_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="channels x height x width"):
        image_size(text)


def test_whatever_a_block_of_ones_own_raises_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
from torch import nn
def signature(a, b): return nn.Identity()
class Bad(nn.Module):
    def forward(self, x): raise TypeError("no\\nsuch")
def forward(in_channels, out_channels, stride): return Bad()
def leaves(a=0, in_channels=0, out_channels=0, stride=0): raise SystemExit(7)
"""
    (tmp_path / "bad_blocks.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name, words in (
        ("signature", "cannot be built"),
        ("leaves", "cannot be built: 7"),
        ("forward", "cannot take images of 1x8x8: no"),
    ):
        with pytest.raises(ValueError, match=rf"\Abad_blocks:{name} {words}[^\n]*\Z"):
            table(f"bad_blocks:{name}", 18, "1x8x8")


def test_faults_are_one_line() -> None:
    for arguments in (("resnet", 19, "3x8x8"), ("resnett", 18, "3x8x8"), ("nowhere:block", 18, "3x8x8")):
        with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
            table(*arguments)
    for changes in ({"width": 10**9}, {"classes": 9 * 10**18}):
        with pytest.raises(ValueError, match=r"\Aresnet cannot be built: [^\n]+\Z"):
            table("resnet", 18, "3x8x8", **changes)
    with pytest.raises(ValueError, match="layout"):
        table("resnet", 18, "3x8x8", layout="four")


class Sharing(nn.Module):
    """Two layers that are one module, and a weight that is used without its module."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)
        self.b = self.a if shared else nn.Conv2d(3, 3, 3, padding=1)
        self.c = nn.ConvTranspose2d(3, 5, 2, stride=2)
        self.d = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(self.b(self.a(x)), self.a.weight, padding=1)
        x = self.d(self.c(x).mean((2, 3)))
        return (x[:, :, None] @ x[:, None, :]).flatten(1)


@pytest.mark.parametrize("shared", [False, True])
def test_flops_are_those_that_are_computed_whoever_shares_what(shared: bool) -> None:
    with torch.device("meta"):
        network = Sharing(shared)
    (row,) = rows(network, (3, 8, 8))
    with FlopCounterMode(display=False) as counter:
        Sharing(shared)(torch.zeros(1, 3, 8, 8))
    assert 2 * row.macs == counter.get_total_flops()
    assert row.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("product", "macs"),
    [
        (lambda x, y: torch.mv(x[0], y[0, :, 0]), 4 * 5),
        (lambda x, y: torch.addmv(x[0, :, 0], x[0], y[0, :, 0]), 4 * 5),
        (lambda x, y: x[0] @ y[0, :, 0], 4 * 5),
        (lambda x, y: torch.dot(x[0, 0], y[0, :, 0]), 5),
        (lambda x, y: torch.addbmm(x[0, :, :1] * 0, x, y), 3 * 4 * 5 * 6),
        (lambda x, y: torch.bmm(x, y), 3 * 4 * 5 * 6),
    ],
)
def test_products_with_vectors_and_sums_of_products_are_counted(product: Callable[..., Any], macs: int) -> None:
    with torch.device("meta"), Products(meta=True) as products:
        product(torch.zeros(3, 4, 5), torch.zeros(3, 5, 6))
    assert products.macs == macs


def test_blocks_that_share_a_layer_have_the_flops_of_those_that_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sharing_blocks.py").write_text(
        "from torch import nn\none = {}\n"
        "def alone(in_channels, out_channels, stride):\n"
        "    return nn.Conv2d(in_channels, out_channels, 3, stride, 1)\n"
        "def shared(*, in_channels, out_channels, stride):\n"
        "    key = in_channels, out_channels, stride\n"
        "    return nn.Sequential(one.setdefault(key, alone(*key)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def totals(name: str) -> tuple[list[int], list[int]]:
        lines = table(f"sharing_blocks:{name}", 34, "3x32x32", width=8).splitlines()[3:-3]
        numbers = [[int(cell.replace(",", "")) for cell in line.split()[-4:-2]] for line in lines if "iB" in line]
        return [n[0] for n in numbers], [n[1] for n in numbers]

    alone, shared = totals("alone"), totals("shared")
    assert alone[1] == shared[1]
    for parameters, _ in (alone, shared):
        assert sum(parameters[:-1]) == parameters[-1]
    assert shared[0][-1] < alone[0][-1]


# Two uses of one convolution, as its owner keeps it and as it is called.
TWICE = {
    "named twice": ("self.e = self.d", "self.e(self.d(x))"),
    "weights tied": (
        "self.e = nn.Conv2d(o, o, 3, 1, 1, bias=False); self.e.weight = self.d.weight",
        "self.e(self.d(x))",
    ),
    "in a list": ("self.e = nn.ModuleList([self.d] * 2)", "self.e[1](self.e[0](x))"),
    "in a dict": ("self.e = nn.ModuleDict(dict(a=self.d, b=self.d))", "self.e['b'](self.e['a'](x))"),
    "in a row": ("self.e = nn.Sequential(self.d, self.d)", "self.e(x)"),
    "in a loop": ("", "[x := self.d(x) for _ in range(2)][-1]"),
    "its weight only": ("", "nn.functional.conv2d(self.d(x), self.d.weight, None, 1, 1)"),
    "out of sight": ("object.__setattr__(self, 'e', self.d)", "self.e(self.d(x))"),
}


@pytest.mark.parametrize("way", TWICE)
def test_a_layer_that_is_used_twice_counts_its_parameters_once(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLOPs are those of two layers, parameters those of one; the cost of a step says the same."""
    name = f"twice_{list(TWICE).index(way)}"
    keeps, calls = TWICE[way]
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\nclass Block(nn.Module):\n    def __init__(self, i, o, s):\n        super().__init__()\n"
        "        self.c, self.d = nn.Conv2d(i, o, 1, s, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)\n"
        f"        {keeps}\n    def forward(self, x):\n        x = self.c(x)\n        return {calls}\n"
        "def block(in_channels, out_channels, stride): return Block(in_channels, out_channels, stride)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    line = next(line for line in table(f"{name}:block", 10, "1x8x8", width=2).splitlines() if "total" in line)
    parameters, flops = (int(word.replace(",", "")) for word in line.split()[1:3])
    # Stages of 2, 4, 8, 16 channels on maps of 64, 16, 4, 1 pixels: 1x1 from the last stage, then 3x3 twice.
    shapes = [(2, 2, 64), (2, 4, 16), (4, 8, 4), (8, 16, 1)]
    stem, head = 9 * 1 * 2, 16 * 10
    assert flops == stem * 64 + head + sum((i * o + 2 * 9 * o * o) * area for i, o, area in shapes)
    assert parameters == stem + 2 * 2 + head + 10 + sum(i * o + 9 * o * o for i, o, _ in shapes)
    assert counted(ModelSpec(architecture(f"{name}:block"), "four-stage", 10, 2, (1, 8, 8), 10))[0] == flops


OWN = """
import torch
from torch import nn
class Block(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o{more})
        self.share = {share}
    def forward(self, x):
        {first}
        return self.norm(self.conv(x))
def block(in_channels, out_channels, stride): return Block(in_channels, out_channels, stride)
"""
UNUSUAL = {
    "none of it": ("", "0", "pass"),
    "a number out of a tensor": ("", "[x.item() for x in torch.linspace(0, 0.2, 3)][1]", "pass"),
    "cumulative statistics": (", momentum=None", "0", "pass"),
    "a look at values": ("", "0", "assert bool((x == x).all())"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_cannot_be_run_without_memory_is_counted_with_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, share, first = UNUSUAL[kind]
    name = f"unusual_{len(kind)}"
    (tmp_path / f"{name}.py").write_text(OWN.format(more=more, share=share, first=first))
    monkeypatch.syspath_prepend(tmp_path)
    line = next(line for line in table(f"{name}:block", 10, "1x8x8", width=8).splitlines() if "total" in line)
    # By hand: a convolution (biases but in the stem) and a normalisation a stage of 8, 16, 32, 64 channels; the head.
    taps = [9 * i * o for i, o in ((1, 8), (8, 8), (8, 16), (16, 32), (32, 64))]
    parameters = sum(taps) + 3 * (8 + 16 + 32 + 64) + 2 * 8 + 650
    macs = sum(t * area for t, area in zip(taps, (64, 64, 16, 4, 1), strict=True)) + 640
    assert line.split()[1:3] == [f"{parameters:,}", f"{macs:,}"]
