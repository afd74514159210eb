"""Normalisations in a user's own blocks: what is judged is what was trained."""

from pathlib import Path

import pytest
import torch
from made_own import folder, own
from torch import nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial, spec_of
from bench.preflight import environments
from bench.train.loop import reestimate
from models.network import build

__all__ = ["folder"]  # pytest finds the fixture here

INIT = "class Own(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n        "
FORWARD = "    def forward(self, x):\n        y = self.c(x)\n        "
END = "\n        return F.relu(y + self.short(x))\n"
FROZEN = {
    "by itself": "class FB(nn.BatchNorm2d):\n    def train(self, mode=True): return super().train(False)\n"
    f"{INIT}self.b = FB(o)\n",
    "by its block": "class Own(Base):\n    def train(self, mode=True):\n        super().train(mode)\n"
    "        self.b.eval()\n        return self\n",
    "never called": f"class Own(Base):\n{FORWARD}{END}",
}
KNOWN = {
    "plain": "class Own(Base): pass\n",
    "twice": f"class Own(Base):\n{FORWARD}y = self.b(5 * F.relu(self.b(y)) + 3){END}",
    "parts of a batch": f"class Own(Base):\n{FORWARD}y = torch.cat([self.b(p) for p in y.split(max(2, len(y) // 2))])"
    f"{END}",
    "instance": f"{INIT}self.q = nn.InstanceNorm2d(o, track_running_stats=True)\n"
    f"{FORWARD}y = self.b(self.q(F.pad(y, (1, 1, 1, 1)))[..., 1:-1, 1:-1]){END}",
    "spectral": f"{INIT}self.c = nn.utils.parametrizations.spectral_norm(self.c)\n",
    "a count": f"{INIT}self.register_buffer('n', torch.zeros(()))\n{FORWARD}self.n += self.training"
    f"\n        y = self.b(y) * self.n.clamp(max=8) / 8{END}",
    "a count of its own": f"{INIT}self.n = 0\n{FORWARD}self.n += self.training"
    f"\n        y = self.b(y) * min(self.n, 8) / 8{END}",
    "a mean that only training reads": f"{INIT}self.register_buffer('m', torch.zeros(o))\n{FORWARD}y = self.b(y)\n"
    f"        if self.training: self.m = self.m.lerp(y.mean((0, 2, 3)).detach(), 0.1){END}",
    "the last output": f"{INIT}self.last = None\n{FORWARD}y = self.last = self.b(y){END}",
}
OWN = (
    "class BN(nn.Module):\n    def __init__(self, o):\n        super().__init__()\n"
    "        self.register_buffer('m', torch.zeros(1, o, 1, 1))\n    def forward(self, x):\n"
    "        if not self.training: return x - self.m\n        m = x.mean((0, 2, 3), keepdim=True)\n"
    "        with torch.no_grad(): self.m{how}\n        return x - m\n"
    f"{INIT}self.b = BN(o)\n"
)
LAGGING = {
    "by function": f"class Own(Base):\n{FORWARD}b = self.b\n        y = F.batch_norm(y, b.running_mean, b.running_var,"
    f" b.weight, b.bias, self.training, 0.1){END}",
    "by forward": f"class Own(Base):\n{FORWARD}y = self.b.forward(y){END}",
    "own": OWN.format(how=".lerp_(m, 0.1)"),
    "own, no buffer": OWN.replace("register_buffer('m', ", "__dict__.update(m=").format(how=" = self.m.lerp(m, 0.1)"),
    "fixed momentum": "class BN(nn.BatchNorm2d):\n    def forward(self, x):\n        return F.batch_norm(x, "
    "self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1)\n"
    f"{INIT}self.b = BN(o)\n",
}


def made(trial: Trial) -> tuple[nn.Module, Images]:
    images = Images(data.for_trial(trial), trial)
    return build(spec_of(trial, images.shape, images.data.classes), trial.seed), images


@pytest.mark.parametrize("way", FROZEN)
def test_a_norm_that_training_leaves_alone_is_left_alone(way: str, folder: Path) -> None:
    network, images = made(own(folder, FROZEN[way], "Own"))
    norms = [block.b for block in network.blocks]  # type: ignore[union-attr]
    for norm in norms:
        norm.running_mean.fill_(0.5)
        norm.running_var.fill_(0.3)
    reestimate(network, images)
    for norm in norms:
        assert (norm.running_mean == 0.5).all()
        assert (norm.running_var == 0.3).all()


@pytest.mark.parametrize("way", ["twice", "parts of a batch", "instance"])
def test_statistics_are_the_mean_over_calls(way: str, folder: Path) -> None:
    network, images = made(own(folder, KNOWN[way], "Own"))
    seen = []
    block = network.blocks[0]  # type: ignore[index]
    norm = getattr(block, "q", block.b)
    norm.momentum = 0.3
    norm.running_mean.fill_(float("nan"))
    hook = norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].mean((0, 2, 3))))
    reestimate(network, images)
    hook.remove()
    assert torch.allclose(norm.running_mean, torch.stack(seen).mean(0), atol=1e-5)
    assert norm.momentum == 0.3
    assert not norm._forward_pre_hooks


@pytest.mark.parametrize("way", [*KNOWN, *LAGGING])
def test_averages_that_would_lag_behind_the_weights_are_refused(way: str, folder: Path) -> None:
    trial = own(folder, {**KNOWN, **LAGGING}[way], "Own")
    if way in KNOWN:
        assert environments(Machine(), [trial])
        return
    what = "the output in evaluation" if way == "own, no buffer" else r"blocks\.0\.b\.(running_mean|m)"
    with pytest.raises(ValueError, match=f"{what} depends on the images that training saw") as caught:
        environments(Machine(), [trial])
    assert "\n" not in str(caught.value)
