"""Fused blocks around their kernels: which are known, what is given back, and what becomes of those without Triton."""

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_fused import InTorch, check_fused, compared
from made_step import same, step_of, tape, trial
from torch import nn

from bench.train.execution import Execution, usual
from bench.train.fused import Fused, batch_norm, known
from bench.train.graph import checkpoint_blocks, fuse_blocks, uncheckpoint, uncompile
from bench.train.graph import uncompiled as as_they_are
from bench.train.loop import evaluate, mode, reestimate
from bench.train.step import Step
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec
from tests.harness.norms import FEW, errors

FUSED = Execution(fused=True)
# Whose blocks are convolutions, BatchNorm, ReLU, an addition, and no more than a projection on the shortcut.
KNOWN = {
    "plain", "resnet", "preact", "resnet-b", "resnet-c", "bn-after-add", "relu-before-add", "relu-only-preact",
    "resnet-zero", "document", "resnet-both-sides", "preact-shared", "preact-zero", "preact-b",
}  # fmt: skip


def network(name: str, layout: str = "four-stage", depth: int = 10) -> nn.Module:
    return build(ModelSpec(ARCHITECTURES[name], layout, depth, 8, (3, 16, 16), 10))


def changed(net: nn.Module) -> list[dict[str, Any]]:
    return [dict(vars(block)) for block in net.blocks]


def test_what_is_known_is_the_suites_own_blocks_of_batchnorm_and_relu() -> None:
    convolutional = [n for n in ARCHITECTURES if n not in ("dense-swish",) and "norm" not in n and "transf" not in n]
    assert {name for name in convolutional if known(network(name).blocks[1])} == KNOWN
    assert not known(network("resnet", "dense").blocks[1])
    assert not known(network("pre-norm", "transformer").blocks[1])
    assert not known(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))


@pytest.mark.parametrize("change", ["hook", "momentum", "statistics", "derived"])
def test_a_block_that_was_changed_is_not_known(change: str) -> None:
    block = network("resnet").blocks[1]
    assert known(block)
    norm = block.branch.norm1
    if change == "hook":
        norm.register_forward_hook(lambda *_: None)
    elif change == "momentum":
        norm.momentum = None
    elif change == "statistics":
        norm.track_running_stats = False
    else:
        block.after.act = type("Own", (nn.ReLU,), {})()
    assert not known(block)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("name", ["plain", "resnet", "preact"])
def test_fusing_is_taken_back_without_a_trace(name: str, checkpointed: bool) -> None:
    net = network(name)
    before = changed(net)
    if checkpointed:
        checkpoint_blocks(net)
    assert fuse_blocks(net) == fuse_blocks(net) == 0
    now = changed(net)
    with as_they_are(net):
        forwards = [vars(block).get("forward") for block in net.blocks]
        assert not any(isinstance(getattr(each, "forward", each), Fused) for each in forwards)
        assert checkpointed or changed(net) == before
    assert changed(net) == now != before
    uncompile(net)
    uncheckpoint(net)
    assert changed(net) == before


def test_blocks_that_are_not_known_are_left_and_so_are_those_with_a_forward_pass_of_their_own() -> None:
    net = network("preact-layer")
    assert fuse_blocks(net) == len(net.blocks)
    assert not any("forward" in vars(block) for block in net.blocks)
    net = network("resnet")
    net.blocks[0].forward = mine = lambda x: x
    assert fuse_blocks(net) == 1
    uncompile(net)
    assert net.blocks[0].forward is mine
    checkpoint_blocks(net)
    assert fuse_blocks(net) == 1


def test_evaluation_and_statistics_made_anew_are_the_blocks_own() -> None:
    asked = trial("resnet")
    plain, fused = step_of(asked, Execution()), step_of(asked, FUSED)
    for step in (plain, fused):
        reestimate(step.network, step.images)
    data = plain.images.data
    found = [evaluate(step.network, step.images, data.test_images, data.test_labels) for step in (plain, fused)]
    assert found[0] == found[1]
    same(plain, fused)
    fused.network.blocks[0].branch.norm1.eval()
    with mode(fused.network, training=True):
        fused.network.blocks[0].branch.norm1.eval()
        x = torch.randn(2, 8, 8, 8)
        assert torch.equal(
            fused.network.blocks[0](x), type(fused.network.blocks[0]).forward(fused.network.blocks[0], x)
        )


@pytest.mark.parametrize("graph", [False, True])
def test_without_triton_a_step_is_torchs_own_and_says_why(monkeypatch: pytest.MonkeyPatch, graph: bool) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "bench.train.kernels", raising=False)
    plain, fused = step_of(trial(), Execution()), step_of(trial(), Execution(graph=graph, fused=True), capture=tape)
    for _ in range(3):
        plain()
        fused()
    same(plain, fused)
    assert fused.execution == Execution(graph=graph)
    asked = "graph+fused" if graph else "fused"
    assert fused.note.startswith(f"not {asked}: fused blocks need Triton: ")
    assert not any("forward" in vars(block) for block in fused.network.blocks)


def test_one_value_per_channel_is_refused_as_torch_does() -> None:
    for norm in (lambda x: nn.BatchNorm2d(3)(x), lambda x: batch_norm(x, nn.BatchNorm2d(3))):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when training, got input size"):
            norm(torch.zeros(1, 3, 1, 1))


def test_fused_blocks_are_asked_for_by_nobody_yet() -> None:
    """Until a card has shown them right and faster."""
    for precision in ("fp32", "tf32", "bf16"):
        assert not usual(trial(precision=precision), "cuda").fused
    asked = replace(usual(trial(precision="bf16"), "cuda"), fused=True)
    assert (asked.name, asked.compiled) == ("graph+fused", True)


def test_steps_are_torchs_own_where_nothing_is_fused() -> None:
    step: Step = step_of(trial("preact-group"), FUSED)
    plain = step_of(trial("preact-group"), Execution())
    for _ in range(2):
        step()
        plain()
    same(step, plain)


# ---- whole networks, with the kernels' arithmetic in torch


def test_arithmetic_in_torch_is_that_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same bounds (see `test_kernels`)."""
    monkeypatch.setattr("bench.train.fused._kernels", lambda: InTorch)
    assert {(str(case), name) for case in FEW for name, error in errors(case, "cpu").items() if not error <= 1} == set()


@pytest.mark.parametrize(
    ("name", "fields", "parts"),
    [*((name, {}, 1) for name in sorted(KNOWN)),
     *((name, {"checkpoint_blocks": True}, 2) for name in ("plain", "resnet", "preact", "resnet-b"))],
)  # fmt: skip
def test_three_steps_in_float32_are_those_of_torchs_own_operators(
    monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any], parts: int
) -> None:
    """Losses, gradients, weights, momenta and statistics, which checkpointing updates once."""
    monkeypatch.setattr("bench.train.fused._kernels", lambda: InTorch)
    found = compared(name, "fp32", fields, parts)
    check_fused(found, bool(fields), parts)
    assert found["losses"][1] == pytest.approx(found["losses"][0], rel=1e-4)
    assert found["gradients apart"] < 1e-3
    assert found["state apart"] < 1e-3


@pytest.mark.parametrize("name", ["plain", "resnet", "preact"])
def test_three_steps_in_bf16_are_as_near_to_float32_as_autocasts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("bench.train.fused._kernels", lambda: InTorch)
    found = compared(name, "bf16", {})
    check_fused(found)
    assert found["losses"][1] == pytest.approx(found["losses"][0], rel=0.02)
    autocast, ours = found["from fp32"]
    assert 0 < ours < 1.5 * autocast
