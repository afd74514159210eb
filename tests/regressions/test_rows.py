"""What is judged: intervals, units, slopes over depth and memory, on rounds made up for it."""

import random
import sys
from pathlib import Path

import pytest

from tests.regressions.made_rounds import noisy, serve
from tests.regressions.rounds import Round
from tests.regressions.rows import Row, judge


def test_the_bounds_of_a_ratio_hold_as_often_as_they_say() -> None:
    """Of rounds without a law of their own: long ones on one side, unlike spreads."""
    rng = random.Random(0)
    outside = [0, 0]
    for _ in range(300):
        pairs = [(Round(1.0, 1.0), Round(r, r)) for r in (rng.choice((rng.uniform(0.9, 1.1), rng.uniform(0.5, 1.0),
                 rng.uniform(1.0, 9.0))) for _ in range(15))]  # fmt: skip
        row = judge({"step": pairs}, calibrated=False)[0]
        outside[0] += row.low > 1.0
        outside[1] += row.high < 1.0
    assert max(outside) < 25  # 5 % of 300, and what chance adds to it


def test_same_pace_passes_on_a_machine_twice_as_slow() -> None:
    pairs = [(Round(3.0, 3.0, 1.0, 1.0), Round(6.0, 6.0, 2.0, 2.0))] * 8
    assert {row.ratio for row in judge({"step": pairs}, calibrated=True)} == {1.0}
    assert {row.ratio for row in judge({"step": pairs}, calibrated=False)} == {2.0}


# ---- slopes over depth

LADDER = {"step 18 plain": 18, "step 130 plain": 130, "step 1002 plain": 1002}


def affine(start: float, layer: float, depth: int) -> Round:
    """Seconds that grow by so much a layer."""
    return Round(*(start + layer * depth,) * 2)


def row(rows: list[Row], name: str, measure: str = "processor") -> Row:
    (found,) = [each for each in rows if (each.name, each.measure) == (name, measure)]
    return found


def test_the_slope_over_depth_is_that_of_the_law_that_was_planted() -> None:
    """Ten milliseconds more at every depth change each benchmark, and no slope; a dearer layer changes both."""
    same = {n: [(affine(0.01, 1e-3, d), affine(0.02, 1e-3, d))] * 12 for n, d in LADDER.items()}
    found = row(judge(same, calibrated=False), "step plain per layer")
    assert (found.unit, found.parts) == ("ms per layer", tuple(LADDER))
    assert (found.before, found.now, found.ratio) == pytest.approx((1.0, 1.0, 1.0))
    dearer = {n: [(affine(0.02, 1.0e-3, d), affine(0.01, 1.2e-3, d))] * 12 for n, d in LADDER.items()}
    rows = judge(dearer, calibrated=False)
    found = row(rows, "step plain per layer")
    assert (found.before, found.now, found.low, found.high) == pytest.approx((1.0, 1.2, 1.2, 1.2))
    assert row(rows, "step 18 plain").ratio < 1


def test_a_slope_needs_two_depths_and_ends_with_the_shortest() -> None:
    one = Round(1.0, 1.0)
    single = {"step 18 plain": [(one, one)] * 12, "verdicts of 84 records": [(one, one)] * 12}
    names = {each.name for each in judge(single, calibrated=False)}
    assert names == {"step 18 plain", "verdicts of 84 records"}
    unlike_lengths = {
        "build 18 preact": [(one, one)] * 40,
        "build 130 preact": [(Round(2.0, 2.0), Round(2.0, 2.0))] * 12,
    }
    assert row(judge(unlike_lengths, calibrated=False), "build preact per layer").before == pytest.approx(1e3 / 112)


def test_a_change_of_slope_fails_and_all_its_depths_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each layer a tenth dearer, in noise; what a step takes at its start hides it at 18 layers."""
    rng = random.Random(4)

    def dearer(python: str, turn: int, name: str) -> tuple[float, ...]:
        layer = 1.1e-3 if python == sys.executable else 1e-3
        seconds = 1.0 + layer * LADDER[name]
        return noisy(rng, lambda _: (seconds, seconds))(python, turn, name)

    found = serve(monkeypatch, tmp_path, dearer, "--against", "other", names=tuple(LADDER))
    said = capsys.readouterr()
    assert found.code == 1
    assert "FAILED: step plain per layer takes 1." in said.err
    assert "step 18 plain takes" not in said.err
    again = said.out.partition("measured again: ")[2].splitlines()[0]
    assert set(again.split(", ")) == set(LADDER)
    assert "ms per layer" in said.out


def test_equal_sides_raise_no_alarm_of_a_slope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    names = (*LADDER, *(name.replace("plain", "preact") for name in LADDER))

    def equal(python: str, turn: int, name: str) -> tuple[float, ...]:
        seconds = 0.01 + 1e-3 * int(name.split()[1])
        return noisy(rng, lambda _: (seconds, seconds))(python, turn, name)

    for _ in range(10):
        assert serve(monkeypatch, tmp_path, equal, "--against", "other", names=names).code == 0


# ---- memory


@pytest.mark.parametrize(("now", "code"), [(10.9, 0), (13.0, 1)])
def test_memory_fails_where_it_grows_by_more_than_two_processes_differ(
    now: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(python: str, turn: int, name: str) -> tuple[float, float, float]:
        return 1.0, 1.0, (now if python == sys.executable else 10.0) * 2**20

    assert serve(monkeypatch, tmp_path, measure, "--against", "other", names=("first step 18 plain",)).code == code
    said = capsys.readouterr()
    assert "MiB" in said.out
    assert ("needs 1.30 times as much memory as it did" in said.err) == bool(code)


def test_memory_by_depth_is_a_slope_too_and_left_out_where_one_side_cannot_read_it() -> None:
    def at(depth: int, layer: float) -> Round:
        return Round(1.0, 1.0, memory=(8 + layer * depth) * 2**20)

    pairs = {f"first step {d} plain": [(at(d, 0.4), at(d, 0.5))] * 12 for d in (18, 1002)}
    found = row(judge(pairs, calibrated=False), "first step plain per layer", "memory")
    assert (found.unit, found.before, found.ratio) == ("MiB per layer", pytest.approx(0.4), pytest.approx(1.25))
    unread = {name: [(before, now._replace(memory=0.0)) for before, now in taken] for name, taken in pairs.items()}
    assert {each.measure for each in judge(unread, calibrated=False)} == {"wall", "processor"}
