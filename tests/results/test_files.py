"""Tables as files, and the command that writes them."""

import dataclasses
import errno
import json
import math
import subprocess
import sys
from importlib.util import find_spec as real_find_spec
from pathlib import Path

import pandas as pd
import pytest
from made_up import damage, frames, study_records, train_record, trial, write
from typer.testing import CliRunner

from bench.plan import study
from bench.plan.checkout import ROOT
from bench.store import record
from bench.store.record import Status
from results import __main__ as command_line
from results import command, files, plan, tables
from results.event_files import write_curves
from results.figures import table as figures


def test_parquet_gives_the_frames_back(tmp_path: Path):
    found = frames(study_records(depths=[18, 258], probes=("lesions",)))
    _, said = files.save(found, tmp_path)
    assert said == ""
    for name in files.NAMES:
        frame = getattr(found, name)
        texts = dict.fromkeys(frame.columns[frame.dtypes == "str"], "str")  # kept in another way here
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), frame.astype(texts))


def test_csv_holds_the_same_rows(tmp_path: Path):
    found = frames(study_records(depths=[18, 258]))
    files.save(found, tmp_path)
    for name in files.NAMES:
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(getattr(found, name))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, text: str):
    found = frames([train_record(trial(), 0.1, status=Status.ERROR, message=text)])
    files.save(found, tmp_path)
    cell = pd.read_csv(tmp_path / "trials.csv")["message"].item()
    assert cell == "'" + text
    assert found.trials["message"].item() == text
    assert pd.read_parquet(tmp_path / "trials.parquet")["message"].item() == text


def test_negative_numbers_stay_numbers(tmp_path: Path):
    found = frames(study_records(["resnet"], [18]))
    files.save(found, tmp_path)
    assert pd.api.types.is_float_dtype(pd.read_csv(tmp_path / "cost.csv")["overhead_time_s"])


def test_without_pyarrow_there_is_csv_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "pyarrow" else real_find_spec(name))
    paths, said = files.save(frames(study_records(depths=[18], seeds=[0])), tmp_path)
    assert "pyarrow" in said
    assert {path.suffix for path in paths} == {".csv"}


def test_every_column_is_in_the_dictionary_metrics_with_their_unit(tmp_path: Path):
    found = frames(study_records(depths=[18, 34]))
    files.save(found, tmp_path)
    told = pd.read_csv(tmp_path / "columns.csv", keep_default_na=False)
    for name in files.NAMES:
        assert list(told[told["table"] == name]["column"]) == list(getattr(found, name).columns)
    wordless = told[~told["label"].str.match(r"\S.{3,}[^.:]$")]
    assert wordless["column"].tolist() == [], "one phrase for every column"
    assert told["label"].str.len().max() <= 160
    (row,) = told[(told["table"] == "cost") & (told["column"] == "step_time_s")].to_dict("records")
    assert (row["label"], row["unit"], row["better"]) == ("step time", "s", "lower")
    (row,) = told[(told["table"] == "cells") & (told["column"] == "train_error_low")].to_dict("records")
    assert row["label"] == "training error, lower end of its interval"


@pytest.mark.parametrize(("text", "width"), [("", 0.0), ("3.25in", 3.25), ("8.89cm", 3.5), ("76.2mm", 3.0)])
def test_widths_of_a_paper(text: str, width: float):
    assert command_line.inches(text) == pytest.approx(width)
    for odd in ("3.25", "wide", "0.1in", "400mm"):
        with pytest.raises(ValueError, match=r"3\.25in"):
            command_line.inches(odd)


def test_the_same_records_give_the_same_bytes(tmp_path: Path):
    write(tmp_path / "records", study_records(depths=[18, 34]))
    for name in ("a", "b"):
        files.save(tables.load([tmp_path / "records"]), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "results", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_half_a_study_makes_tables(tmp_path: Path):
    write(tmp_path / "records" / "digits", study_records(depths=[18, 1002], seeds=[0], study="digits"))
    damage(tmp_path / "records" / "digits")
    arguments = ["digits", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "out"), "--no-figures"]
    done = CliRunner().invoke(command_line.app, arguments)
    assert done.exit_code == 0, done.output
    assert "6 trainings, 1 diverged; 6 costs; " in done.output
    assert "cut.json: not read" in done.output
    assert (tmp_path / "out" / "digits" / "cells.csv").exists()


def test_tables_are_printed_as_strict_json_and_nothing_is_written(tmp_path: Path):
    folder = tmp_path / "records" / "digits"
    write(folder, study_records(["plain"], [18, 258], [0, 1], study="digits"))
    damage(folder)
    arguments = ["digits", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(command_line.app, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    read = tables.load([folder])
    assert (told["study"], {each["file"] for each in told["damaged"]}) == (
        "digits",
        {"empty.json", "cut.json", "other.json"},
    )
    for name in files.NAMES:
        table = getattr(read, name)
        assert len(told[name]) == len(table)
        assert all(list(row) == list(table.columns) for row in told[name])
    assert [row["train_error"] for row in told["trials"]] == [
        None if math.isnan(error) else error for error in read.trials["train_error"]
    ]
    assert None in [row["train_error"] for row in told["trials"]], "one diverged"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("two", [("--json", "--plan"), ("--plan", "--tensorboard"), ("--json", "--tensorboard")])
def test_each_task_is_one_of_its_own(two: tuple[str, str]):
    done = run("digits", *two)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {' and '.join(two)} do not go together: each is a task of its own\n"


def test_one_of_a_kind_is_told_as_one(tmp_path: Path):
    write(tmp_path / "records" / "digits", study_records(["preact"], [18], [0], study="digits"))
    arguments = ["digits", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "out"), "--no-figures"]
    assert "1 training; 1 cost; " in CliRunner().invoke(command_line.app, arguments).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["digit"], "Did you mean"), (["digits", "--records", "nowhere"], "no records in nowhere/digits")],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_2(arguments: list[str], said: str):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_output_path_that_is_a_file_is_refused(tmp_path: Path):
    write(tmp_path / "digits", study_records(depths=[18], seeds=[0], study="digits"))
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="cannot make the folder"):
        command.ready(tmp_path / "out" / "digits")


def test_a_folder_a_level_too_high_is_named_and_an_empty_one_is_no_fault(tmp_path: Path):
    found = study.load("digits")
    (tmp_path / "digits").mkdir()
    assert command.loaded(found, "digits", [tmp_path / "digits"]).trials.empty
    write(tmp_path / "digits" / "this-machine", study_records(depths=[18], seeds=[0], study="digits"))
    with pytest.raises(ValueError, match=r"no records in .*digits, only folders: this-machine"):
        command.loaded(found, "digits", [tmp_path / "digits"])


def test_records_of_trials_that_the_study_no_longer_asks_for_are_warned_of(tmp_path: Path):
    table = {"architecture": "plain", "depth": [18, 34], "seed": [0]}
    before, after = study.parse("mine", table), study.parse("mine", {**table, "lr": 0.01})
    records = [train_record(dataclasses.replace(t, seed=seed), 0.1) for t in before.trials[:2] for seed in (0, 7)]
    write(tmp_path / "mine", records)
    assert command.loaded(before, "mine", [tmp_path / "mine"]).warnings == ()
    (line,) = command.loaded(after, "mine", [tmp_path / "mine"]).warnings
    assert line.startswith(f"{len(records)} records are of trials that this study does not ask for")


def test_a_figure_or_an_event_file_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    found = frames(study_records(depths=[18, 34]))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*file.*: Not a directory"):
        write_curves(found, tmp_path / "file" / "tensorboard")
    monkeypatch.setattr(record, "write", full)
    with pytest.raises(ValueError, match=r"cannot write .*\.svg: No space left on device"):
        figures.write_all(found, tmp_path)


def test_the_plan_says_what_the_seeds_could_see():
    few, many = (list(plan.lines(study.load("digits", seeds=range(n)), frames([]))) for n in (3, 20))
    assert "3 seeds each" in few[0]
    assert any("0.5 points (assumed): 2.79 points; 5 seeds see 2 points" in line for line in few)
    assert any("0.5 points (assumed): 0.98 points" in line for line in many)
    assert "no verdict" in list(plan.lines(study.load("digits", seeds=[0]), frames([])))[-1]


def test_the_plan_uses_spreads_that_were_measured():
    found = frames(study_records(["preact"], [18], study="digits"))
    said = list(plan.lines(study.load("digits"), found))
    assert any(line.startswith("  preact, 18 layers: spread") for line in said)


def test_the_plan_does_not_pool_the_spreads_of_different_settings():
    """Errors at two learning rates differ by their rates: that is no spread between seeds."""
    rates = ((0.1, 0.1), (1.0, 0.9))
    found = frames([train_record(trial(seed=s, lr=lr), error + s / 1000) for s in range(3) for lr, error in rates])
    said = [line for line in plan.lines(study.load("digits"), found) if "measured" in line]
    assert [line.partition(":")[2].partition(")")[0] for line in said] == [
        f" spread 0.10 points (measured at learning rate {lr:g}" for lr, _ in rates
    ]
