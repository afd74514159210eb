"""Compiled blocks: how often they are compiled, and what cannot be is reported."""

import threading

import pytest
import torch
from made_step import GRAPH, same, step_of, tape, trial

from bench.train.execution import Execution
from bench.train.graph import check_compiled, compilations, compile_blocks, uncompile
from bench.train.loop import _loop


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_compiled_blocks_share_their_variants_whatever_the_depth() -> None:
    """Four stages have at most seven shapes of block; depth adds none (backend "eager": capture without a compiler)."""
    made = []
    for depth in (18, 34):
        step = step_of(trial("resnet", depth), Execution())
        before = compile_blocks(step.network, backend="eager")
        step()
        made.append(check_compiled(before))
        uncompile(step.network)
    assert made[0] == made[1] <= 8
    torch._dynamo.reset()


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_compiled_blocks_may_be_checkpointed_too() -> None:
    """Compiled inside the checkpoint; the repetition, its statistics frozen, is a variant of its own."""
    plain = step_of(trial("resnet"), Execution())
    both = step_of(trial("resnet", checkpoint_blocks=True), Execution())
    before = compile_blocks(both.network, backend="eager")
    for _ in range(2):
        plain()
        both()
    assert 0 < check_compiled(before) <= 16
    same(plain, both)
    both.close()
    assert not any("forward" in vars(m) for m in both.network.modules())
    torch._dynamo.reset()


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_repetition_in_another_thread_is_compiled_as_often_as_it_must_be() -> None:
    """CUDA's backward pass has a thread of its own, torch 2.15 keeps dynamo's limit of 8 variants by thread."""
    made = []
    for apart in (False, True):
        step = step_of(trial("resnet", 18, checkpoint_blocks=True, resize=16), Execution())
        before = compile_blocks(step.network, backend="eager")
        for size in (8, 12, 20):  # new shapes: more variants than dynamo's own limit
            loss = step.forward(*step.images.train(torch.arange(size), step.augment_generator))[1]
            if apart:
                thread = threading.Thread(target=loss.backward)
                thread.start()
                thread.join()
            else:
                loss.backward()  # type: ignore[no-untyped-call]
        made.append(check_compiled(before))
        step.close()
        torch._dynamo.reset()
    assert made[0] == made[1] > 8


@pytest.mark.filterwarnings("default:The .grad attribute")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_evaluation_after_an_epoch_compiles_nothing(monkeypatch: pytest.MonkeyPatch, checkpointed: bool) -> None:
    """Its mode and its batches differ from a step's: each would be compiled, and on CUDA tuned, for itself."""
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compile_blocks(network, backend="eager"))
    made = []
    for each in (False, True):
        asked = trial("resnet", test_each_epoch=each, checkpoint_blocks=checkpointed)
        step = step_of(asked, Execution(compiled=True))
        run = _loop(step, lambda _: None, lambda network, _: made.append(compilations()), None)
        assert ("test_error" in run.epochs[-1]) == each
        assert step.execution.compiled
        step.close()
        torch._dynamo.reset()
    assert len(set(made)) == 1


def test_what_cannot_be_compiled_is_still_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check_compiled` refuses: nothing was compiled here. The graph stays, and trains as without a compiler."""
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compilations())
    eager, graphed = (
        step_of(trial(), Execution()), step_of(trial(), Execution(graph=True, compiled=True), capture=tape)
    )  # fmt: skip
    for _ in range(6):
        eager()
        graphed()
    same(eager, graphed)
    assert graphed.execution == GRAPH
    assert graphed.note.startswith("not graph+compile: compiled blocks fell back to eager")


def test_blocks_that_fell_back_to_eager_are_reported() -> None:
    with pytest.raises(RuntimeError, match="fell back to eager"):
        check_compiled(compilations())


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_only_what_is_not_fused_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compile_blocks(network, backend="eager"))
    step = step_of(trial("preact-layer"), Execution(compiled=True, fused=True))
    step()
    assert check_compiled(0) > 0
    assert step.note == ""
    step.close()
    torch._dynamo.reset()
    step = step_of(trial("resnet"), Execution(compiled=True, fused=True))
    assert all(block._compiled_call_impl is None for block in step.network.blocks)
    step.close()
