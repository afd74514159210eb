"""The tables of targets: what they compare is the same training, and their arithmetic is right."""

import argparse
import json
import math
import re
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train.execution import Execution
from bench.train.step import Step
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec
from tests.harness.norms import hindrance
from tests.speed import apart, at_once, cpu_table, cuda_table
from tests.speed.cuda_table import REAL, REHEARSAL, Row, Table, log_slope
from tests.speed.reference import Reference, interleaved

DOCS = Path(__file__).resolve().parents[2] / "docs"


def trial(**fields: object) -> Trial:
    recipe = {"dataset": "synthetic", "width": 2, "batch_size": 64, "lr": 0.05, "epochs": 2, "warmup_epochs": 1.0}
    return Trial("test", ARCHITECTURES["resnet"], 18, 0, **{**recipe, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", ["synthetic", "digits"])
def test_reference_sees_the_same_pixels(dataset: str) -> None:
    asked = trial(dataset=dataset)
    stored = data.load(dataset)
    reference = Reference(asked, stored, "cpu")
    ours = Images(stored, asked).prepare(stored.train_images[:20])
    theirs = torch.stack([reference.loader.dataset[i][0] for i in range(20)])
    # PIL holds eighths of a grey level less than 16 levels do: 255 / 16 is rounded.
    assert torch.allclose(ours, theirs, atol=0.02)


def test_reference_trains_as_ours_does() -> None:
    """The same batches: weights agree to rounding after two epochs, though no operation was done the same way."""
    asked = trial()
    stored = data.load("synthetic")
    images = Images(stored, asked)
    spec = ModelSpec(asked.architecture, asked.layout, asked.depth, asked.width, images.shape, stored.classes)
    network = build(spec, 0).to(memory_format=torch.channels_last)
    ours, reference = Step(network, images, asked, "cpu"), Reference(asked, stored, "cpu")
    assert {type(m) for m in reference.network.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
    for k in range(len(ours.rates)):
        ours()
        at = slice(64 * (k % 4), 64 * (k % 4) + 64)
        loss, _ = reference.step(*images.train(ours.order[at], None))
        assert loss == pytest.approx(float(ours.loss), rel=1e-3)
    for a, b in zip(network.parameters(), reference.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_reference_epoch_visits_all_images() -> None:
    reference = Reference(trial(drop_last=False, batch_size=60, augment="crop-flip"), data.load("synthetic"), "cpu")
    loss, error = reference.epoch()
    assert math.isfinite(loss)
    assert 0 < error <= 1
    assert reference.scheduler.last_epoch == 5


def test_interleaved_takes_turns_and_leaves_the_first_out() -> None:
    order = []
    ticks = iter(range(100))
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, "cpu", lambda: next(ticks))
    assert order == ["a", "b"] * 3
    assert {name: len(samples) for name, samples in times.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("depth", [8, 20])
def test_outputs_are_those_of_every_convolution(depth: int) -> None:
    table = Table(REHEARSAL)
    network = build(ModelSpec(ARCHITECTURES["plain"], "cifar", depth, REHEARSAL.width, (3, 8, 8), 10))
    elements = 0

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal elements
        elements += output[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(2, 3, 8, 8))
    assert table.outputs(depth) == elements


def test_fused_traffic_agrees_with_the_paper_roofline() -> None:
    """docs/performance.md, section 2: depth 110, batch 512: 16.1 GB; depth 1202: 176.4 GB."""
    table = object.__new__(Table)
    table.scale = REAL
    for depth, gigabytes in ((110, 16.1), (1202, 176.4)):
        assert cuda_table.FUSED_PASSES * table.outputs(depth) * 512 * 2 / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_log_slope_of_a_power_law_is_its_exponent() -> None:
    assert log_slope((10, 100, 1000), [0.1, 1.0, 10.0]) == pytest.approx(1.0)
    assert log_slope((10, 100, 1000), [1.0, 10**1.1, 10**2.2]) == pytest.approx(1.1)


def test_rehearsed_rows_run_and_a_row_that_breaks_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Short(Table):
        def exactness(self) -> list[Row]:
            self.scale = cuda_table.replace(self.scale, exact_steps=2)
            return super().exactness()[:2]

        def epoch(self) -> list[Row]:
            raise RuntimeError("no loader")

        def steps(self) -> list[Row]:
            return []

        first_steps = slope = fused = cooperative = steps

    path = tmp_path / "out" / "cuda.json"
    assert cuda_table.measure(Short(cuda_table.replace(REHEARSAL, rounds=1)), path) == 1
    saved = json.loads(path.read_text())
    assert saved["rehearsal"] is True
    assert "no number above means anything" in capsys.readouterr().out
    rows = {row["what"].split(",")[0]: row for row in saved["rows"]}
    assert rows["epoch"]["note"] == "RuntimeError: no loader"
    assert rows["exact: plain at 8"]["passed"]
    assert rows["exact: plain at 8"]["execution"] == ["exact"]
    for seeds in at_once.SEEDS:
        assert rows[f"seeds at once: {seeds}"]["value"] > 0
    broken = [row["what"] for row in saved["rows"] if math.isnan(row["value"])]
    assert broken == ["epoch"]


def test_row_fails_where_a_step_was_not_executed_as_asked() -> None:
    """A graph that could not be captured is as exact as an eager step, since it is one."""
    table, said = Table(REHEARSAL), "planted: no capture"

    def refuse(body: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError(said)

    for capture, passed in ((lambda body: body, True), (refuse, False)):
        with table.step(table.trial(8), Execution(graph=True), capture=capture) as step:
            step()
        row = table.row("exact", 0.0, "apart", 0, 0, passed=True)
        assert row["passed"] is passed
        assert row["execution"] == ["graph" if passed else "eager"]
    assert row["note"] == f"asked graph, was eager: not graph: {said}"
    assert table.row("the next", 0.0, "", 0, 0, passed=True)["passed"]


def test_first_step_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_table, "FIRST_STEP_LIMIT_S", 0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        Table(REHEARSAL).first_steps()


@pytest.mark.skipif(bool(hindrance()), reason=hindrance() or "none")
def test_other_ways_are_timed_apart_and_a_hang_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(REHEARSAL)
    values, fused = table.fused()
    assert values["passed"], values["where"]
    assert 0 < values["value"] <= 1
    assert fused["execution"] == ["eager", "fused"]
    (cooperative,) = table.cooperative()
    for row in (fused, cooperative):
        assert row["passed"], row["note"]
        assert len(row["with_s"]) == len(row["without_s"]) == 3 * REHEARSAL.rounds
        assert row["value"] > 0
    monkeypatch.setattr(apart, "LIMIT_S", 0.01)
    (row,) = table.cooperative()
    assert not row["passed"]
    assert row["note"].startswith("not done after")


def test_real_table_is_refused_without_a_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    monkeypatch.setattr("sys.argv", ["cuda_table"])
    with pytest.raises(SystemExit) as caught:
        cuda_table.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: device cuda")


def test_an_epoch_in_a_worker_is_timed_against_the_loop_in_this_process() -> None:
    options = argparse.Namespace(rounds=1, rehearse=True, busy=False)
    rows = list(cpu_table.epochs_as_started(options))
    assert [(depth, precision) for depth in (20, 56) for precision in cpu_table.precisions()] == [
        (int(row["what"].split("depth ")[1].split(",")[0]), "bf16" if "bf16" in row["what"] else "fp32") for row in rows
    ]
    assert all(min(row["reference_s"] + row["ours_s"]) > 0 for row in rows)
    options.busy = True
    assert not list(cpu_table.epochs_as_started(options))


def test_harness_row_is_a_time_a_trial() -> None:
    (row,) = cpu_table.harness(argparse.Namespace(rounds=1, rehearse=True))
    # A difference of two sweeps, start of a worker included: on a busy machine ten short trials may drown in it.
    assert abs(row["value"]) < 5000
    assert len(row["samples_s"]) == 1
    assert "ms" in cpu_table.line(row)


def test_documented_cuda_steps_are_the_measured_ones() -> None:
    """Milliseconds and both ratios of each step in docs/performance.md, from the samples beside it."""
    found = json.loads((DOCS / "measured" / "cuda-table-nvidia-h100-80gb-hbm3.json").read_text())
    section = (DOCS / "performance.md").read_text().split("**5a.")[1].split("**5b.")[0]
    rows = {row["what"]: row for row in found["rows"]}
    checked = 0
    for depth, *cells in re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE):
        for words, cell in zip(("bf16", "tf32", "fp32 exact"), cells, strict=True):
            row = rows[f"step, batch 128, depth {depth}, {words}"]
            ours, fp32, tf32 = (statistics.median(row[f"{side}_s"]) for side in ("ours", "reference", "tf32"))
            assert cell == f"{1e3 * ours:.3g}, {fp32 / ours:.2f}x, {tf32 / ours:.2f}x"
            checked += 1
    assert checked == 12
    assert all(row["passed"] for row in found["rows"] if row["what"].startswith("exact:"))
