"""A user's own blocks, trained: whatever they do to themselves and to the process, the record is true."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from made_own import PLAIN, folder, numbers, own, result
from torch import nn

from bench.cost.measure import counted
from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial, affecting, spec_of
from bench.preflight import environments
from bench.train import graph
from bench.train.execution import Execution
from bench.train.step import Step
from models.network import build

__all__ = ["folder"]  # pytest finds the fixture here


@pytest.mark.parametrize("draw", ["random.random()", "float(np.random.rand())", "float(torch.rand(()))"])
def test_what_a_block_draws_in_training_does_not_depend_on_what_ran_before(draw: str, folder: Path) -> None:
    text = f"class Drops(Base):\n    def forward(self, x):\n        y = super().forward(x)\n        return y * {draw}\n"
    trial = own(folder, text, "Drops")
    first = numbers(result(trial))
    result(PLAIN)
    assert numbers(result(trial)) == first


# A block whose class would compute something else than the block itself: `real` is what Base computes.
SETS_FORWARD = """
class Own(Base):
    def __init__(self, *a):
        super().__init__(*a)
        {sets}
    def real(self, x, by=1.0):
        return by * super().forward(x)
    def forward(self, x):
        return 0 * super().forward(x)
"""


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    "sets",
    [
        "self.forward = self.real",
        "self.forward = functools.partial(self.real, by=1.0)",
        "self.forward = lambda x: self.real(x)",
        "self.forward = functools.partial(Own.real, self)",
        "self.__dict__['forward'] = self.real",
    ],
)
def test_a_forward_pass_that_a_block_sets_on_itself_is_trained_and_judged(
    sets: str, checkpointed: bool, folder: Path
) -> None:
    plain = numbers(result(own(folder, "", name="plain_block")))
    found = numbers(result(own(folder, SETS_FORWARD.format(sets=sets), "Own", checkpoint_blocks=checkpointed)))
    assert found == plain
    assert found[1] < 0.1  # it has learned


INIT = "    def __init__(self, *a):\n        super().__init__(*a)\n        "
# Blocks that compute what Base computes, called in ways of their own.
OTHERWISE_CALLED = {
    "hook": f"class Own(Base):\n{INIT}self.register_forward_hook(lambda m, x, y: m.real(x[0]))\n"
    "    def real(self, x): return Base.forward(self, x)\n    def forward(self, x): return 0 * x\n",
    "hook before": f"class Own(Base):\n{INIT}self.register_forward_pre_hook(lambda m, x: (1.0 * x[0],))\n",
    "checkpoint": "from torch.utils.checkpoint import checkpoint\nclass Own(Base):\n"
    "    def forward(self, x): return checkpoint(super().forward, x, use_reentrant=False)\n",
    "call": "class Own(Base):\n    def __call__(self, x): return Base.forward(self, x)\n"
    "    def forward(self, x): return 0 * x\n",
    "method type": f"import types\nclass Own(Base):\n{INIT}"
    "self.forward = types.MethodType(lambda s, x: Base.forward(s, x), self)\n    def forward(self, x): return 0 * x\n",
    "object": "class Real:\n    def __init__(self, m): self.m = [m]\n"
    f"    def __call__(self, x): return Base.forward(self.m[0], x)\nclass Own(Base):\n{INIT}self.forward = Real(self)\n"
    "    def forward(self, x): return 0 * x\n",
    "at the first call": "class Own(Base):\n    def real(self, x): return Base.forward(self, x)\n"
    "    def forward(self, x):\n        self.forward = self.real\n        return self.real(x)\n",
    "of the class": "class Own(Base): pass\nOwn.forward = lambda self, x: Base.forward(self, x)\n",
    "of an inner one": "class Own(nn.Module):\n    def __init__(self, *a):\n        super().__init__()\n"
    "        self.inner = Base(*a)\n        self.forward = self.inner.forward\n",
    "train": "class Own(Base):\n    def train(self, mode=True):\n        super().train(mode)\n"
    "        self.forward = self.real\n        return self\n    def real(self, x): return Base.forward(self, x)\n"
    "    def forward(self, x): return 0 * x\n",
}


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("way", OTHERWISE_CALLED)
def test_however_a_block_is_called_what_it_computes_is_trained_and_judged(
    way: str, checkpointed: bool, folder: Path
) -> None:
    trial = own(folder, OTHERWISE_CALLED[way], "Own", checkpoint_blocks=checkpointed)
    assert numbers(result(trial)) == numbers(result(own(folder, "", name="plain_block")))


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and people use it
def test_a_block_whose_layers_are_hidden_is_refused(folder: Path) -> None:
    """Its BatchNorm would be judged with running averages that lag behind the weights."""
    trial = own(folder, "def Own(*a): return torch.jit.trace(Base(*a), torch.zeros(2, a[0], 4, 4))\n", "Own")
    with pytest.raises(ValueError, match=r"torch.jit hides its layers"):
        environments(Machine(), [trial])


def test_what_the_suite_changes_about_blocks_it_gives_back_as_it_was() -> None:
    def mine(x: torch.Tensor) -> torch.Tensor:
        return x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = nn.Conv2d(1, 1, 1)
            self.blocks = nn.ModuleList([nn.Conv2d(1, 1, 1), shared, shared, nn.Identity()])

    network = Net()
    network.blocks[0].forward = mine
    network.blocks[3]._compiled_call_impl = mine  # compiled by its own author
    before = [dict(vars(block)) for block in network.blocks]
    graph.checkpoint_blocks(network)
    assert all("forward" in vars(block) for block in network.blocks)
    graph.uncompile(network)
    graph.uncheckpoint(network)
    assert [dict(vars(block)) for block in network.blocks] == before


@pytest.mark.parametrize(
    "text",
    [
        "class Odd(Base):\n    def __init__(self, *a):\n        super().__init__(*a)\n"
        "        self.p = [x.item() for x in torch.linspace(0, 0.2, 3)][1]\n",
        "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
        "        self.b = nn.BatchNorm2d(o, momentum=None)\n",
        "class Odd(Base):\n    def forward(self, x):\n        assert bool((x == x).all())\n"
        "        return super().forward(x)\n",
    ],
)
def test_a_net_that_needs_values_has_its_cost_all_the_same(text: str, folder: Path) -> None:
    def macs(trial: Trial) -> int:
        return counted(spec_of(trial, (1, 8, 8), 4))[0]

    assert macs(own(folder, text, "Odd")) == macs(own(folder, "", name="plain_block"))


PREFLIGHT = {
    "lazy layers": "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
    "        self.c = nn.LazyConv2d(o, 3, s, 1)\n",
    "a lazy whole": "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
    "        self.b = nn.LazyBatchNorm2d()\n",
}
REFUSED = {
    "a weight of five dimensions": "class Odd(Base):\n    def __init__(self, *a):\n        super().__init__(*a)\n"
    "        self.d = nn.Conv3d(1, 1, (3, 1, 1), padding=(1, 0, 0))\n"
    "    def forward(self, x):\n        y = super().forward(x)\n        return y + self.d(y[:, None])[:, 0]\n",
    "in place before backward": "class Odd(Base):\n    def forward(self, x):\n"
    "        y = torch.sigmoid(self.b(self.c(x)))\n        y.add_(self.short(x))\n        return y\n",
    "another output in evaluation": "class Odd(Base):\n    def forward(self, x):\n        y = super().forward(x)\n"
    "        return y if self.training else y[:1]\n",
    "small batches only": "class Odd(Base):\n    def forward(self, x):\n        assert len(x) < 64\n"
    "        return super().forward(x)\n",
    "a parameter that comes later": "class Odd(Base):\n    def forward(self, x):\n"
    "        if not hasattr(self, 'g'): self.g = nn.Parameter(torch.ones(()))\n"
    "        return self.g * super().forward(x)\n",
    "a parameter made anew": "class Odd(Base):\n    def forward(self, x):\n"
    "        self.c.weight = nn.Parameter(self.c.weight.detach().clone())\n        return super().forward(x)\n",
    "the second step": "class Odd(Base):\n    last = 0\n    def forward(self, x):\n"
    "        y = super().forward(x)\n        if self.training and len(x) > 2:\n"
    "            y = y + 0 * torch.as_tensor(self.last).mean(dtype=y.dtype)\n            self.last = y\n"
    "        return y\n",
}
WIDTHS = "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n        {}\n"


def test_a_parameter_that_would_not_be_trained_is_named(folder: Path) -> None:
    trial = own(folder, REFUSED["a parameter that comes later"], "Odd")
    with pytest.raises(ValueError, match=r"parameter blocks\.0\.g is made in a forward pass"):
        environments(Machine(), [trial])


@pytest.mark.parametrize(
    ("field", "values", "fails"),
    [
        ("width", (8, 4), "self.b = nn.GroupNorm(8, o)"),
        (
            "precision",
            ("fp32", "bf16"),
            "self.c.register_forward_hook(lambda m, x, y: (y.detach().numpy(), None)[1])",
        ),
        ("optimizer", ("sgd", "adamw"), ""),
        ("augment", ("none", "crop-flip"), ""),
    ],
)
def test_every_way_to_start_is_tried_before_any_work(
    field: str, values: tuple[object, ...], fails: str, folder: Path
) -> None:
    assert field in affecting("start")
    one = own(folder, WIDTHS.format(fails or "pass"), "Odd")
    good, other = (dataclasses.replace(one, **{"width": 8, field: value}) for value in values)
    assert environments(Machine(), [good])
    if fails:
        with pytest.raises(ValueError, match="own_trial_block:block"):
            environments(Machine(), [good, other])


def test_a_norm_that_refuses_one_vector_has_its_cost(folder: Path) -> None:
    text = WIDTHS.format("self.b = nn.BatchNorm2d(o, track_running_stats=False)")
    trial = dataclasses.replace(own(folder, text, "Odd"), purpose="cost", epochs=0)
    record = result(trial)
    assert record.status == "ok", record.message
    assert record.cost["macs_per_image"] == counted(spec_of(own(folder, "", name="plain_block"), (1, 8, 8), 4))[0]


@pytest.mark.parametrize("kind", [*PREFLIGHT, *REFUSED])
def test_what_is_let_through_before_any_work_trains(kind: str, folder: Path) -> None:
    text = {**PREFLIGHT, **REFUSED}[kind]
    trial = own(folder, text, "Odd")
    if kind in REFUSED:
        with pytest.raises(ValueError, match="own_trial_block:block") as caught:
            environments(Machine(), [trial])
        assert "\n" not in str(caught.value)
    else:
        assert environments(Machine(), [trial])
        assert numbers(result(trial)) == numbers(result(trial))


def test_parts_of_a_batch_that_does_not_fit_hold_two_images_at_least() -> None:
    """Of a last batch of three, BatchNorm refuses the one that would be left over."""
    trial = dataclasses.replace(PLAIN, train_examples=131, drop_last=False, epochs=1)
    images = Images(data.for_trial(trial), trial)
    for parts in (1, 2, 4, 8):
        network = build(spec_of(trial, images.shape, 4), 0)
        step = Step(network, images, trial, "cpu", Execution(micro_batches=parts))
        for _ in range(step.per_epoch):
            step()
        assert math.isfinite(float(step.loss))


@pytest.mark.parametrize("number", [39, 40, 41, 10**6])
def test_more_images_than_there_are_is_refused_unless_rehearsed(number: int) -> None:
    trial = dataclasses.replace(PLAIN, dataset="synthetic", test_examples=256 + number)
    with pytest.raises(ValueError, match="test_examples"):
        environments(Machine(), [trial])
    assert environments(Machine(rehearsal=True), [trial])
