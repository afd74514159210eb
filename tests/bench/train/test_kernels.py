"""Fused norms compute what torch's own do, kernel by kernel and in whole networks (in Triton's interpreter)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_fused import check_fused

from tests.harness.ghost.stage import Stage
from tests.harness.norms import FEW, hindrance

Play = Callable[..., Any]
pytestmark = pytest.mark.skipif(bool(hindrance()), reason=hindrance() or "none")


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    stage = Stage({"TRITON_INTERPRET": "1"}, "tests.harness.interpreted")
    yield stage
    stage.close()


@pytest.mark.parametrize("place", range(len(FEW)), ids=map(str, FEW))
def test_values_are_torchs_in_float64_up_to_rounding(play: Play, place: int) -> None:
    """Result, all gradients, and the running statistics."""
    (found,) = play("values", [place]).values()
    assert {name: error for name, error in found.items() if not error <= 1} == {}
    assert ("shortcut's gradient" in found) == FEW[place].added


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("squares / (rows - 1)", "squares / rows", {"running variance"}),
        ("momentum * mean + (1 - momentum)", "(1 - momentum) * mean + momentum", {"running mean"}),
        ("if AGAIN:", "if False:", {"input's gradient", "weight's gradient", "bias's gradient"}),
        ("if MASKED:", "if False:", {"input's gradient", "weight's gradient", "shortcut's gradient"}),
        ("if RELU:", "if False:", {"result"}),
        ("if ADD:", "if False:", {"result"}),
        # Sums of squares as they are: float32 has not the digits.
        ("pivot = tl.sum(first, 0) / tl.minimum(count, BLOCK_R)", "pivot = tl.sum(first, 0) * 0", {"running variance"}),
        ("tl.minimum(each, rows - p * each), 0)", "each, 0)", {"result", "running variance"}),
        ("tl.where(inside, value - pivot[None, :], 0.0)", "value - pivot[None, :]", {"result", "running mean"}),
        ("squares + counts * apart * apart", "squares", {"result", "running variance"}),
        ("if BESIDE:", "if False:", {"input's gradient", "shortcut's gradient"}),
        ("- normal * (products[None, :] / rows)", "", {"input's gradient"}),
    ],
)
def test_planted_fault_is_seen(play: Play, old: str, new: str, seen: set[str]) -> None:
    assert seen <= set(play("planted", old, new))


def test_parts_of_several_chunks_are_merged_by_their_sizes(play: Play) -> None:
    assert max(play("in_parts").values()) <= 1


def test_without_a_fault_nothing_is_seen(play: Play) -> None:
    assert play("planted", "import torch", "import torch") == []


def test_what_is_not_a_number_stays_so(play: Play) -> None:
    """By NaN in its loss a step says that the net has diverged."""
    assert play("not_a_number") == {"there": True, "elsewhere": False}


def test_three_steps_of_a_network_in_bf16_are_as_near_to_float32_as_autocasts(play: Play) -> None:
    """Other networks stand in `test_fused`, without an interpreter."""
    found = play("trained", "resnet", "bf16", {})
    check_fused(found)
    assert found["losses"][1] == pytest.approx(found["losses"][0], rel=0.02)
    autocast, ours = found["from fp32"]
    assert 0 < ours < 1.5 * autocast
