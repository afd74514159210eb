"""Growth: inserted blocks change nothing at first, can learn, and what cannot be grown is said."""

import dataclasses

import pytest
import torch
from made_trained import asked, ready, state, trained
from torch import nn

from bench.plan.machine import Machine
from bench.plan.trial import spec_of
from bench.probes import anatomy, growth
from bench.runner import run_trial
from bench.train.loop import evaluate, reestimate
from models.layouts import FROM
from models.spec import ARCHITECTURES

# Residual nets that cannot be grown; why, each says itself.
REFUSED = {
    *("resnet-c", "resnet-half", "relu-before-add", "preact-sqrt", "preact-depth", "stochastic-depth"),
    *("highway", "hyper", "mhc", "post-norm"),
}


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        *((row, layout) for row in ("plain", "resnet", "preact") for layout in ("four-stage", "dense")),
        ("pre-norm", "transformer"),
        ("dense-swish", "dense-four"),
    ],
)
def test_inserted_blocks_change_nothing(row: str, layout: str) -> None:
    trial = asked(row, layout=layout, lr=0.05)
    network, images = trained(trial)
    before = state(network)
    grown = growth.grow(
        network, dataclasses.replace(spec_of(trial, images.shape, images.data.classes), depth=34), images, trial.seed
    )
    x, y = images.data.test_images, images.data.test_labels
    old, new = (growth._logits(net, images, x) for net in (network, grown))
    if row == "plain":
        assert float((old - new).abs().max()) < 1e-3 * float(old.abs().max())
    else:
        assert torch.equal(old, new)
    assert evaluate(network, images, x, y)[1] == evaluate(grown, images, x, y)[1]
    assert len(grown.blocks) == len(network.blocks) * 2
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("row", [name for name, row in ARCHITECTURES.items() if row.residual])
def test_whatever_is_grown_is_the_same_function_and_every_new_block_can_learn(row: str) -> None:
    resize = 32 if row == "document" else 0  # its layout halves a map five times
    trial = asked(row, layout=FROM.get(row, "four-stage"), grow_to=(34,), resize=resize)
    network, images = ready(trial)
    with torch.no_grad():  # weights that start at zero would hide what an insertion does to the old blocks
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) / 10)
    reestimate(network, images)
    reason = growth._refusal(network, trial, 34)
    assert bool(reason) == (row in REFUSED), reason
    if reason:
        return
    spec = spec_of(trial, images.shape, images.data.classes)
    grown = growth.grow(network, dataclasses.replace(spec, depth=34), images, trial.seed)
    old, new = (growth._logits(net, images, images.data.test_images) for net in (network, grown))
    assert float((old - new).abs().max()) < 1e-3 * float(old.abs().max())
    x, y = images.data.train_images[:64], images.data.train_labels[:64]
    nn.functional.cross_entropy(grown(images.prepare(x)), y).backward()  # type: ignore[no-untyped-call]
    (kept, *_), (count, *_) = network.stages, grown.stages
    for block in anatomy.blocks_of(grown)[kept:count]:
        assert any(p.grad is not None and p.grad.any() for p in block.branch.parameters())


def test_growth_trains_both_by_the_same_recipe() -> None:
    record = run_trial(asked(grow_to=(34, 66), probes=("growth",)), Machine(), lambda _: None)
    steps = record.probes["growth"]["steps"]
    assert [(s["from"], s["to"], s["steps"], s["lr"]) for s in steps] == [(18, 34, 8, 0.1), (34, 66, 8, 0.1)]
    assert [s["max_logit_difference"] for s in steps] == [0.0, 0.0]
    assert steps[0]["error_before"] == steps[0]["error_after_insertion"] == record.result["train_error"]
    # What the second step starts from is what the first one made.
    assert steps[1]["error_before"] == steps[0]["grown_error"]


def test_growth_says_what_it_cannot_grow() -> None:
    for trial, reason in (
        (asked("plain", layout="cifar-bottleneck", depth=11, grow_to=(20,)), "narrower"),
        (asked("plain-orthogonal", grow_to=(34,)), "tanh"),
        (asked(layout="dense", depth=18, grow_to=(35,)), "differ"),
        (asked("post-norm", layout="transformer", depth=6, width=8, grow_to=(10,)), "each image for itself"),
        (asked("transformer-plain", layout="transformer", depth=6, width=8, grow_to=(10,)), "cannot be an identity"),
    ):
        probe = growth.Growth(*ready(trial), trial)
        probe.at_end()
        assert reason in probe.found["skipped"]
        assert probe.found["steps"] == []
