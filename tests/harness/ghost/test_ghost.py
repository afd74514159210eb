"""The CUDA path on the ghost card: what is captured, what waits, what is launched, what becomes of too small a card.

None of it needs a GPU, and no number read from a tensor means anything here (see `build`).
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.torch_version import TorchVersion

from bench.probes.table import PROBES
from models.spec import ARCHITECTURES
from tests.harness.ghost.build import build, hindrance
from tests.harness.ghost.stage import Stage

Play = Callable[..., Any]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(hindrance()), reason=hindrance() or "none")]
GIB = 2**30


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    stage = Stage(build(tmp_path_factory.mktemp("ghost")))
    yield stage
    stage.close()


def check_captured(rows: dict[str, Any], names: list[str], execution: str) -> None:
    assert list(rows) == names
    for name, row in rows.items():
        assert (row["note"], row["problems"], row["execution"]) == ("", [], execution), name
        assert row["captured"] == row["partial"] == row["eager"] > 100, name
        assert row["replayed"] > 0, name
        assert row["waits"] == 0, name
        # A replay is one launch; torch fills in seed and offset of each generator before it.
        assert row["beside"] <= 4 * row["replayed"], name


@pytest.mark.parametrize(("precision", "execution"), [("fp32", "graph+exact"), ("tf32", "graph")])
def test_every_architecture_is_captured_as_the_eager_step_launches_it(
    play: Play, precision: str, execution: str
) -> None:
    """A whole batch and a partial one; and replays wait for nothing."""
    names = list(ARCHITECTURES)
    check_captured(play("captures", {"precision": precision, "drop_last": False}, names), names, execution)


@pytest.mark.parametrize(
    "recipe",
    [{"checkpoint_blocks": True, "clip_norm": 1.0}, {"momentum": 0.0, "label_smoothing": 0.1, "resize": 16}],
    ids=["checkpointed and clipped", "no momentum, smoothed, resized"],
)
def test_every_part_of_a_recipe_is_captured_too(play: Play, recipe: dict[str, Any]) -> None:
    names = ["plain", "resnet", "resnet-dropout"]
    check_captured(play("captures", {"precision": "tf32", "drop_last": False, **recipe}, names), names, "graph")


def test_replays_draw_as_many_random_numbers_as_eager_steps(play: Play) -> None:
    """Crops and flips from the suite's generator, dropout from torch's own: else each replay would draw the same."""
    eager, captured = play("drawn", "resnet-dropout", 5)
    assert eager == captured
    assert min(eager) > 0


# ---- memory and failures


def test_too_small_a_card_means_smaller_batches_or_out_of_memory_and_nothing_else(play: Play) -> None:
    """From a tenth to all of what the trial needs: it ends in the first passes, in cuDNN's search, or in a capture."""
    needed, ends, smaller = play("memory_needed"), [], 0
    for share in (0.1, 0.3, 0.5, 0.6, 0.85, 1.0):
        first, *second = play("small_card", int(share * needed))
        ends.append(first["status"])
        assert first["status"] in ("ok", "out_of_memory"), (share, first)
        if first["status"] == "ok":
            assert (first["execution"], first["note"]) == ("graph", ""), (share, first)
            smaller += first["did_not_fit"] > 0
        for after in second:
            assert (after["status"], after["execution"]) == ("ok", "graph"), (share, after)
    assert ends == sorted(ends, reverse=True)  # a larger card never does worse
    assert (ends[0], ends[-1]) == ("out_of_memory", "ok")
    assert smaller > 0


@pytest.mark.parametrize("launches", [100, 500])
def test_an_error_that_stays_ends_the_trial_and_its_process(play: Play, launches: int) -> None:
    found = play("sticky_error", launches)
    assert found["status"] == "error"
    assert "illegal memory access" in found["message"]
    assert not found["kept"]


# ---- several seeds at once

# As little as can be compiled: three sizes of block, one of batch.
SHORT = {"precision": "bf16", "layout": "cifar", "depth": 8, "drop_last": True}


@pytest.mark.parametrize(
    ("fields", "execution"),
    [({}, "graph"), ({"precision": "fp32"}, "graph+exact"), (SHORT, "graph+compile")],
    ids=["tf32", "fp32", "bf16"],
)
def test_seeds_at_once_are_captured_and_replayed_as_one_alone(
    play: Play, fields: dict[str, Any], execution: str
) -> None:
    """With a partial batch, which is captured after others have begun, but for what is compiled."""
    found = play("several", 3, 80 * GIB, {"drop_last": False, "epochs": 3, **fields})
    ended = {"status": "ok", "execution": execution, "execution_note": "", "did_not_fit": None}
    assert found["records"] == [{**ended, "seeds_at_once": 3}] * 3
    assert found["alone"] == {**ended, "seeds_at_once": None}
    assert found["problems"] == []
    # An epoch's end is where the loss is looked at.
    assert [seed for seed, _ in found["looks"]] == [0, 1, 2] * 3
    assert len({stream for _, stream in found["looks"]}) == len(set(map(tuple, found["looks"]))) == 3
    for several, alone in (found["captured"], found["replayed"]):
        assert several == 3 * alone > 0


def test_seeds_at_once_wait_for_the_card_no_more_often_than_alone(play: Play) -> None:
    """By two epochs more, since searches and captures wait, too."""
    short, long = (play("several", 3, 80 * GIB, {"depth": 10, "epochs": epochs})["waits"] for epochs in (3, 5))
    several, alone = (more - few for few, more in zip(short, long, strict=True))
    assert several == 3 * alone > 0


def test_seed_that_finds_no_memory_beside_others_leaves_them_alone_and_fits_by_itself(play: Play) -> None:
    needed = play("memory_needed")
    found = play("several", 3, int(2.3 * needed), {"drop_last": False})
    statuses = [record["status"] for record in found["records"]]
    assert sorted(statuses) == ["ok", "ok", "out_of_memory"], found
    assert all(record["did_not_fit"] is None for record in found["records"]), (
        "no micro-batches for the neighbours' sake"
    )
    assert (found["alone"]["status"], found["alone"]["did_not_fit"]) == ("ok", None)
    assert found["left"] < needed / 4, "what the group had is given back"
    assert found["problems"] == []


# ---- whole records


def test_cost_record_is_whole(play: Play) -> None:
    found = play("cost", 20, 128, 80 * GIB)
    assert (found["status"], found["message"], found["execution"]) == ("ok", "", "graph")
    assert found["problems"] == []
    assert {"step_times_s", "forward_times_s", "inference_times_s", "peak_memory_bytes"} <= set(found["cost"])
    assert 200 < found["kernels"] < 240
    assert found["stages"] == ["", "head", "stage 1", "stage 2", "stage 3", "stem"]


def test_kernels_of_a_fused_step_count_for_their_stages(play: Play) -> None:
    """Six norms a stage of 20 layers, each with two kernels forward and two backward; and a map that must be copied."""
    found = play("cost", 20, 128, 80 * GIB, "bf16", True)
    assert (found["status"], found["message"], found["execution"]) == ("ok", "", "graph+fused")
    assert all(24 <= found["norms"].get(f"stage {stage}", 0) <= 26 for stage in (1, 2, 3))


def test_cost_of_a_net_that_fits_once_but_not_twice(play: Play) -> None:
    """Its step takes 4.3 GiB, in a graph; its parts are then run eagerly."""
    found = play("cost", 110, 512, 6 * GIB)
    assert (found["status"], found["message"]) == ("ok", "")


def test_peak_memory_is_that_of_the_captured_steps(play: Play) -> None:
    """A gibibyte that only steps outside the capture take is no part of it."""
    assert 0 < play("peak_of_steps", "Searching") == play("peak_of_steps", "Images") < GIB
    # No copy of the weights (1.2 MB) is held meanwhile; each of 2,000 steps has its place in a table of rates.
    assert 0 <= play("peak_of_steps", "Images") - play("peak_of_training") < 2**16


def test_channels_come_first_in_fp32_and_last_otherwise(play: Play) -> None:
    first, last = play("layouts", "fp32"), play("layouts", "tf32")
    assert len(first) == len(last) > 5
    assert set(map(tuple, first)) == {(True, False)}
    assert set(map(tuple, last)) == {(False, True)}


@pytest.mark.parametrize("name", ["plain", "resnet"])
def test_probes_and_evaluations_run_on_the_device(play: Play, name: str) -> None:
    found = play("probed", name)
    assert (found["status"], found["message"], found["execution"], found["note"]) == ("ok", "", "graph", "")
    assert found["probes"] == sorted(PROBES)
    assert found["tested"] == [True, True]
    assert found["problems"] == []


# ---- what must be noticed


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("Reads", "synchronizing"),
        ("Synchronises", "captur"),
        ("LeavesAStream", "unjoined"),
        ("CopiesFromTheHost", "pin"),
    ],
)
def test_block_that_cannot_be_captured_runs_eagerly_and_spoils_nothing(play: Play, block: str, said: str) -> None:
    awkward, *after = play("awkward_block", block)
    assert awkward["execution"] == "eager"
    assert awkward["note"].startswith("not graph: ")
    assert said in awkward["note"]
    for step in after:
        assert (step["execution"], step["note"], step["problems"]) == ("graph", "", [])


@pytest.mark.parametrize(
    "fault",
    [
        "a number read in the step",
        "no warm-up",
        "labels on the host",
        pytest.param(
            "no generator registered",
            marks=pytest.mark.skipif(TorchVersion(torch.__version__) >= "2.15", reason="torch registers it by itself"),
        ),
    ],
)
def test_planted_fault_is_caught(play: Play, fault: str) -> None:
    found = play("planted", fault)
    assert found["execution"] != "graph"
    assert found["note"] or found["raised"]


# ---- launches: speed without a clock. A kernel more in a layer is a thousand more at a thousand layers.

# Nodes of a captured step that are no layer's, and nodes of each layer. Seen: 62 and 8.0 on torch 2.15, 8.06 on 2.11.
STEP, LAYER = 62, 8.1
# Of a compiled bf16 step of 8 layers, three sizes of block: the least that is compiled in half a minute. Seen: 144.
# Each layer more: 11.2 (from 14 to 20 layers).
COMPILED = 144
# Each layer more of a fused bf16 step: three of its convolution, four of its BatchNorm; in pre-activation nets half of
# an addition. Seen: 7.0, 7.0 and 7.5 on torch 2.15, a little more on 2.11.
FUSED = {"plain": 7.1, "resnet": 7.1, "preact": 7.6}


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_launches_of_a_step_and_of_each_layer_stay_below_their_ceilings(play: Play, precision: str) -> None:
    found = play("launches", precision, [20, 110])
    each = (found["110"] - found["20"]) / 90
    assert each <= LAYER
    assert found["20"] - 20 * each <= STEP


def test_launches_of_a_compiled_step_stay_below_their_ceiling(play: Play) -> None:
    assert play("launches", "bf16", [8])["8"] <= COMPILED


@pytest.mark.parametrize("name", FUSED)
def test_launches_of_each_layer_of_a_fused_step_stay_below_their_ceiling(play: Play, name: str) -> None:
    """Captured as asked, without a wait (see `launches`)."""
    found = play("launches", "bf16", [14, 50], name, True)
    assert (found["50"] - found["14"]) / 36 <= FUSED[name]
