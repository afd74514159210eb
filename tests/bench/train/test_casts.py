"""Weights cast at once: the same step as autocast's bit for bit, and a network that never shows its copies."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_step import same, step_of, tape, trial
from torch import Tensor, nn

from bench.cost.measure import _parts
from bench.plan.trial import Trial
from bench.train.casts import CastWeights
from bench.train.checkpoint import put_back, snapshot
from bench.train.execution import Execution, usual
from bench.train.graph import check_compiled, compile_blocks
from bench.train.step import Step
from models.blocks import Conv3x3

ONCE = Execution(cast_once=True)


def bf16(architecture: str = "resnet", **fields: Any) -> Trial:
    """Maps of 16, 8 and 4 pixels: with maps of 2 a CPU takes weights apart."""
    return trial(
        architecture,
        **{"depth": 8, "layout": "cifar", "resize": 16, "precision": "bf16", "epochs": 5, "batch_size": 16, **fields},
    )


def both(asked: Trial, steps: int, **more: Any) -> tuple[Step, Step]:
    """Autocast's way and ours, after so many steps with the same losses."""
    ends, losses = [], [[], []]
    for once in (False, True):
        step = step_of(asked, Execution(cast_once=once, **more))
        for _ in range(steps):
            step()
            losses[once].append(float(step.loss))
        ends.append(step)
    assert losses[0] == losses[1]
    return ends[0], ends[1]


@pytest.mark.parametrize(
    ("name", "fields"),
    [("plain", {}), ("resnet", {}), ("preact", {}), ("document", {}), ("highway", {}),
     ("pre-norm", {"layout": "transformer"})],
)  # fmt: skip
@pytest.mark.parametrize("parts", [1, 2])
def test_twenty_steps_equal_those_of_autocast_bit_for_bit(name: str, fields: dict[str, Any], parts: int) -> None:
    """Losses, weights, momenta and statistics; "document" has biases beside its convolutions."""
    autocast, ours = both(bf16(name, **fields), 20, micro_batches=parts)
    same(autocast, ours)
    kinds = [m for m in ours.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert ours._cast is not None
    assert len(ours._cast.parameters) == sum(len(list(m.parameters())) for m in kinds)


def test_maps_of_one_pixel_are_the_same_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a layer takes the centre of its weight. Maps of 2x2 are computed as on CUDA here."""
    monkeypatch.setattr(Conv3x3, "_on_2x2", nn.Conv2d.forward)
    same(*both(bf16(layout="four-stage", depth=10, resize=0, lr=0.01), 20))


@pytest.mark.parametrize(
    "recipe", [{"clip_norm": 0.5}, {"optimizer": "adamw", "lr": 0.001}, {"checkpoint_blocks": True}]
)
@pytest.mark.parametrize("name", ["resnet", "document"])
def test_every_recipe_is_the_same_too(name: str, recipe: dict[str, Any]) -> None:
    same(*both(bf16(name, **recipe), 20))
    same(*both(bf16(name, **recipe), 4, micro_batches=2))


def test_captured_steps_equal_those_of_autocast() -> None:
    asked = bf16(epochs=2, drop_last=False)
    autocast, captured = (
        step_of(asked, Execution()),
        step_of(asked, Execution(graph=True, cast_once=True), capture=tape),
    )
    for _ in autocast.rates:
        autocast()
        captured()
        same(autocast, captured)
    assert captured.note == ""
    assert masters_only(captured)


@pytest.mark.filterwarnings("default:The .grad attribute")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_compiled_blocks_take_the_copies(monkeypatch: pytest.MonkeyPatch, checkpointed: bool) -> None:
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compile_blocks(network, backend="eager"))
    asked, made = bf16(checkpoint_blocks=checkpointed), []
    for once in (False, True):
        step = step_of(asked, Execution(compiled=True, cast_once=once))
        for _ in range(4):
            step()
        made.append((check_compiled(0), [t.clone() for t in step.state()]))
        assert step.note == ""
        assert masters_only(step)
        step.close()
        torch._dynamo.reset()
    assert made[0][0] == made[1][0]
    assert all(torch.equal(a, b) for a, b in zip(made[0][1], made[1][1], strict=True))


def masters_only(step: Step) -> bool:
    """Whether a network shows the parameters that it was given, in float32, and nothing else."""
    now = list(step.network.parameters())
    return len(now) == len(step.parameters) and all(
        a is b and isinstance(a, nn.Parameter) and a.dtype == torch.float32
        for a, b in zip(now, step.parameters, strict=True)
    )


def test_copies_are_seen_by_no_one_but_a_forward_and_its_backward_pass() -> None:
    step = step_of(bf16(), ONCE)
    seen: list[torch.dtype] = []
    step.network.stem.register_forward_pre_hook(lambda stem, _: seen.append(stem.conv.weight.dtype))
    step()
    assert seen == [torch.bfloat16]
    assert masters_only(step)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in step.parameters)
    step.forward(*step.images.train(torch.arange(16), step.augment_generator))
    assert seen == [torch.bfloat16, torch.float32]
    step.close()
    assert masters_only(step)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_nothing_is_left_after_a_failure(where: str) -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if where == "forward":
                raise RuntimeError("planted")
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise RuntimeError("planted")

    step = step_of(bf16(), ONCE)
    hook = step.network.head.register_forward_hook(lambda *args: Fails.apply(args[2]))
    with pytest.raises(RuntimeError, match="planted"):
        step()
    assert masters_only(step)
    hook.remove()
    other = step_of(bf16(), ONCE)
    put_back(step, snapshot(other))
    step()
    other()
    same(step, other)


def test_failed_capture_leaves_a_plain_network_that_trains_on() -> None:
    def capture(body: Callable[[], None]) -> Callable[[], None]:
        body()
        raise RuntimeError("planted")

    asked = bf16()
    autocast, ours = step_of(asked, Execution()), step_of(asked, Execution(graph=True, cast_once=True), capture=capture)
    for _ in range(3):
        autocast()
        ours()
    assert ours.note == "not graph: planted"
    assert masters_only(ours)
    same(autocast, ours)


def test_weights_that_change_between_steps_are_cast_anew() -> None:
    """A checkpoint, say: what is cast is what the weights are at a step's beginning."""
    asked = bf16()
    first, second = step_of(asked, Execution()), step_of(asked, ONCE)
    for _ in range(3):
        first()
    second()
    put_back(second, snapshot(first))
    first()
    second()
    same(first, second)


def test_costs_of_the_parts_are_those_of_the_step() -> None:
    step = step_of(bf16(), ONCE)
    seen: list[torch.dtype] = []
    step.network.stem.register_forward_pre_hook(lambda stem, _: seen.append(stem.conv.weight.dtype))
    cost = _parts(step, "cpu")
    assert set(seen) == {torch.bfloat16}
    assert min(cost["forward_times_s"] + cost["backward_times_s"] + cost["optimizer_times_s"]) > 0
    assert masters_only(step)


def test_only_bf16_on_cuda_casts_at_once_and_no_block_of_a_user() -> None:
    assert usual(bf16(), "cuda").cast_once
    assert not usual(bf16(), "cpu").cast_once
    assert not usual(bf16(precision="tf32"), "cuda").cast_once
    own = replace(bf16().architecture, factory="somewhere:block")
    assert not usual(replace(bf16(), architecture=own), "cuda").cast_once


def test_layers_that_may_be_used_otherwise_keep_autocasts_way() -> None:
    class Derived(nn.Linear):
        pass

    hooked, tied, twice = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_pre_hook(lambda *_: None)
    shares = nn.Linear(4, 4)
    shares.weight = tied.weight
    frozen = nn.Linear(4, 4).requires_grad_(False)
    replaced = nn.Linear(4, 4)
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    good = [nn.Linear(4, 4), nn.Conv2d(4, 4, 1, bias=False), Conv3x3(4, 4)]
    others = [hooked, tied, shares, twice, twice, frozen, replaced, normed, Derived(4, 4), nn.LayerNorm(4)]
    lent = CastWeights(nn.Sequential(*others, *good)).parameters
    assert [id(p) for p in lent] == [id(p) for m in good for p in m.parameters()]
    assert CastWeights(nn.ReLU()).parameters == []
    with CastWeights(nn.ReLU()).lent():
        pass


def test_parameter_that_took_no_part_has_no_gradient() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with CastWeights(network).lent(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        network[0](torch.ones(2, 4)).sum().backward()
    assert network[0].weight.grad is not None
    assert network[1].weight.grad is None
