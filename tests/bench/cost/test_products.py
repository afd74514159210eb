"""Multiply-adds of users' own blocks: by hand, alike in the summary and in the cost of a step."""

from pathlib import Path

import pytest

from bench.cost.measure import counted
from bench.cost.summary import table
from bench.plan.trial import architecture
from models.spec import ModelSpec

OWN = """
import torch
from torch import nn
from torch.nn import functional as F
class Own(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.c = nn.Conv2d(i, o, 1, s, bias=False)
        self.w, self.v = nn.Parameter(torch.randn(o, o) / o), nn.Parameter(torch.randn(o))
        {layer}
    def forward(self, x):
        x = self.c(x)
        {looks}
        n, c, h, w = x.shape
        t, m = x.flatten(2).transpose(1, 2), x.mean((2, 3))
        {product}
def block(in_channels, out_channels, stride): return Own(in_channels, out_channels, stride)
"""
TOKENS = "; return x + t.transpose(1, 2).reshape(n, c, h, w)"
VECTOR = "[:, :, None, None]"
# By stage: channels and the area of the maps.
STAGES = ((8, 64), (16, 16), (32, 4), (64, 1))
# Of the stem, the first convolutions and the head.
OTHER = 9 * 8 * 64 + 64 * 8 * 8 + 16 * 8 * 16 + 4 * 16 * 32 + 32 * 64 + 64 * 10
SQUARES = sum(o * o for o, _ in STAGES)
CUBES = sum(o**3 for o, _ in STAGES)
PER_TOKEN = sum(area * o * o for o, area in STAGES)
PAIRS = sum(area * area * o for o, area in STAGES)

# The layer, what the forward pass returns, and the multiply-adds of it.
KNOWN = {
    "nothing": ("", "return x", 0),
    "vectors, image by image": ("", f"return x + torch.stack([self.w @ r for r in m]){VECTOR}", SQUARES),
    "a vector once": ("", f"return x + (self.w @ self.v)[None]{VECTOR}", SQUARES),
    "a weight made of weights": ("", f"return x + F.linear(m, self.w @ self.w){VECTOR}", SQUARES + CUBES),
    "spectral norm": (  # in training: one step of the power iteration, then the norm
        "self.m = nn.utils.parametrizations.spectral_norm(nn.Linear(o, o, bias=False))",
        f"return x + self.m(m){VECTOR}",
        4 * SQUARES + sum(o for o, _ in STAGES),
    ),
    "bilinear": ("self.m = nn.Bilinear(o, o, o)", f"return x + self.m(m, m){VECTOR}", CUBES),
    "lstm": ("self.m = nn.LSTM(o, o, batch_first=True)", f"t = self.m(t)[0]{TOKENS}", 8 * PER_TOKEN),
    "attention": (
        "self.m = nn.MultiheadAttention(o, 1, batch_first=True)",
        f"t = self.m(t, t, t, need_weights=False)[0]{TOKENS}",
        4 * PER_TOKEN + 2 * PAIRS,
    ),
    "encoder": (
        "self.m = nn.TransformerEncoderLayer(o, 1, 2 * o, dropout=0.0, batch_first=True)",
        f"t = self.m(t){TOKENS}",
        8 * PER_TOKEN + 2 * PAIRS,
    ),
    "parts of a batch": (
        "self.b = nn.BatchNorm2d(o)",
        "return torch.cat([self.b(p) for p in x.split(max(2, n // 4))])",
        0,
    ),
    "time first": (
        "self.k, self.b = nn.Parameter(torch.randn(1, o, o)), nn.Parameter(torch.zeros(o))",
        f"t = torch.conv_tbc(t.transpose(0, 1).contiguous(), self.k, self.b).transpose(0, 1){TOKENS}",
        PER_TOKEN,
    ),
}
UNKNOWN = {
    "distances": (
        f"t = t + torch.cdist(t, self.w.expand(n, c, c)).mean((1, 2))[:, None, None]{TOKENS}",
        "aten::_cdist_forward",
    ),
    "an exponential": (
        f"return x + torch.matrix_exp(self.w - self.w.T).sum(0)[None]{VECTOR}",
        "aten::linalg_matrix_exp",
    ),
}


def both(
    folder: Path, monkeypatch: pytest.MonkeyPatch, layer: str, product: str, looks: bool = False
) -> tuple[int, list[str], str]:
    """Multiply-adds of a step's cost and what they leave out, and the text of the summary."""
    name = f"products_{abs(hash((layer, product, looks)))}"
    text = OWN.format(layer=layer, product=product, looks="assert bool((x == x).all())" if looks else "")
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    row = architecture(f"{name}:block")
    macs, left_out = counted(ModelSpec(row, "four-stage", 10, 8, (1, 8, 8), 10))
    return macs, left_out, table(row.factory, 10, "1x8x8", width=8)


def total(text: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith("total"))
    return int(line.split()[2].replace(",", ""))


@pytest.mark.parametrize("looks", [False, True], ids=["meta", "cpu"])
@pytest.mark.parametrize("kind", KNOWN)
def test_a_users_products_are_counted_alike_and_by_hand(
    kind: str, looks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, product, macs = KNOWN[kind]
    found, left_out, text = both(tmp_path, monkeypatch, layer or "pass", product, looks)
    assert (found, total(text)) == (OTHER + macs, OTHER + macs)
    assert not left_out
    assert "leave out" not in text


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_not_counted_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product, name = UNKNOWN[kind]
    _, left_out, text = both(tmp_path, monkeypatch, "pass", product)
    assert left_out == [name]
    assert f"FLOPs leave out what these operators multiply: {name}." in text


def test_a_deformable_convolution_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    layer = "import torchvision; self.m = torchvision.ops.DeformConv2d(o, o, 3, padding=1, bias=False)"
    product = "return x + self.m(x, torch.zeros(n, 18, h, w, device=x.device))"
    found, left_out, text = both(tmp_path, monkeypatch, layer, product)
    assert (found, total(text), left_out) == (OTHER + 9 * PER_TOKEN, OTHER + 9 * PER_TOKEN, [])
