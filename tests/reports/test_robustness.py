"""Verdicts under other roundings: a planted flip is found, and a setting that changes nothing is left out and named."""

import dataclasses
from pathlib import Path

import made_up
import pytest
from typer.testing import CliRunner

from reports import robustness

RUNNER = CliRunner()


def plant(folder: Path, worst: float) -> robustness.Verdicts:
    """Verdicts on pre-activation nets of 18 to 1002 layers, of which the deepest end at this error."""
    errors = {18: 0.03, 258: 0.03, 1002: worst}

    def error(_: str, depth: int, seed: int) -> float:
        return errors[depth] + seed / 1e4

    records = made_up.study_records(("preact",), tuple(errors), range(5), error)
    records = [dataclasses.replace(r, trial=dataclasses.replace(r.trial, study="digits")) for r in records]
    made_up.write(folder / "digits", records)
    return robustness.headlines("digits", folder)


def test_a_planted_flip_is_found_and_only_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, again, bad = plant(tmp_path / "a", 0.03), plant(tmp_path / "b", 0.03), plant(tmp_path / "c", 0.6)
    assert robustness.flips({"native": good, "other": again}) == []
    found = robustness.flips({"native": good, "other": bad})
    assert "residual-no-harm" in {claim for claim, _ in found}
    assert "cost-grows" not in {claim for claim, _ in good}, "no rounding shows in a cost"
    robustness.print_table({"native": good, "other": bad})
    out = capsys.readouterr().out
    assert f"{len(found)} of {len(good)} verdicts flip" in out
    assert sum(line.endswith("flips") for line in map(str.rstrip, out.splitlines())) == len(found)
    (line,) = [line for line in out.splitlines() if "residual-no-harm" in line and line.rstrip().endswith("flips")]
    assert "supported" in line
    decided = [sum(verdict != "inconclusive" for verdict in verdicts.values()) for verdicts in (good, bad)]
    assert decided[0] > decided[1], "one learning rate refutes nothing"
    assert f"native: {decided[0]} of" in out
    assert f"other: {decided[1]} of" in out


def test_a_setting_that_equals_another_is_left_out_and_named() -> None:
    one = made_up.train_record(made_up.trial(), 0.1)
    same = dataclasses.replace(one, result={**one.result, "train_seconds": 9.0}, seconds=9.0)
    bit = dataclasses.replace(one, result={**one.result, "train_loss": one.result["train_loss"] + 2**-54})
    assert bit.result["train_loss"] != one.result["train_loss"]
    counted, equal = robustness.settings_that_count({"native": one, "slower": same, "other": bit})
    assert (counted, equal) == (["native", "other"], {"slower": "native"})


@pytest.mark.parametrize(("words", "said"), [(["--device", "cuda"], "use cpu"), (["--executor", "ray"], "inline")])
def test_what_cannot_be_is_refused_before_any_work(words: list[str], said: str, tmp_path: Path) -> None:
    done = RUNNER.invoke(robustness.app, ["digits", *words, "--records", str(tmp_path / "r")])
    assert isinstance(done.exception, ValueError)
    assert said in str(done.exception)
    assert not (tmp_path / "r").exists()
