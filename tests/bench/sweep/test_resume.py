"""What is done counts again and nothing else: what other machines, recipes or damage left is set aside and said."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pytest
from made_sweep import DONE, STUDY, Told, files, run

from bench.store import record
from bench.store.record import Status
from bench.sweep import run as sweep
from tests.harness import rehearsal
from tests.harness.rehearsal import table


@pytest.fixture
def finished(reference: Path, tmp_path: Path) -> Path:
    shutil.copytree(reference, tmp_path / "records")
    return tmp_path / "records"


def test_what_is_done_is_not_run_again(finished: Path) -> None:
    before = {path.name: path.read_bytes() for path in files(finished)}
    assert run(finished) == sweep.Summary(0, DONE, {}, 0, "")
    assert {path.name: path.read_bytes() for path in files(finished)} == before


def test_only_what_is_missing_is_run(finished: Path, reference: Path) -> None:
    for path in files(finished)[::3]:
        path.unlink()
    summary = run(finished)
    assert (summary.done, summary.ended) == (DONE - 4, {Status.OK: 4})
    assert table(finished) == table(reference)


def test_a_failure_is_run_again_in_place_and_a_divergence_is_not(tmp_path: Path, reference: Path) -> None:
    told = Told()
    faults = tuple(map(rehearsal.faults.parse, ["raise@1:3", "nan@2:3"]))
    assert run(tmp_path, told=told, faults=faults).code == sweep.EXIT_FAILED
    again = run(tmp_path)
    assert (again.code, again.done, again.ended) == (0, DONE - 1, {Status.OK: 1})
    assert len(files(tmp_path)) == DONE
    ours, theirs = table(tmp_path), table(reference)
    assert [name for name in ours if ours[name] != theirs[name]] == ["plain 34 seed 0 train"]


@pytest.mark.parametrize("field", record.COMPARED)
def test_a_record_of_another_machine_code_or_data_is_kept_apart_and_said(field: str, finished: Path) -> None:
    path = files(finished)[0]
    other = record.read(path)
    data = record.encode(dataclasses.replace(other, environment={**other.environment, field: "another"}))
    path.write_bytes(data)
    told = Told()
    assert run(finished, told=told).ended == {Status.OK: 1}
    assert (path.parent / "apart" / path.name).read_bytes() == data
    assert any(path.name in line and field in line for line in told.lines)
    assert len(table(finished)) == DONE


def test_a_changed_recipe_does_not_mix_with_the_old_one(finished: Path) -> None:
    changed = rehearsal.study.parse(
        "rehearsal", {"architecture": ["plain", "resnet"], "depth": [18, 34], "epochs": 3}, seeds=[0, 1]
    )
    told = Told()
    summary = run(finished, changed, told)
    costs = [trial for trial in STUDY.trials if trial.purpose == "cost"]
    assert (summary.done, summary.ended) == (len(costs), {Status.OK: DONE - len(costs)})
    assert len(list((finished / "rehearsal" / "apart").iterdir())) == DONE - len(costs)
    assert {found.trial for _, found in record.load(finished / "rehearsal")[0]} == set(changed.trials)


def test_an_edit_that_is_undone_costs_nothing(finished: Path, reference: Path) -> None:
    rows = {"architecture": ["plain", "resnet"], "depth": [18, 34], "epochs": 3}
    changed = rehearsal.study.parse("rehearsal", rows, seeds=[0, 1])
    run(finished, changed)
    told = Told()
    summary = run(finished, told=told)
    assert (summary.done, summary.ended) == (DONE, {})
    assert sum("counts again; taken back from rehearsal/apart" in line for line in told.lines) == 8
    assert table(finished) == table(reference)
    assert run(finished, changed).ended == {}, "and back again"


def test_a_device_that_is_changed_to_and_fro_costs_nothing(finished: Path) -> None:
    path = files(finished)[0]
    ours = record.read(path)
    theirs = dataclasses.replace(ours, environment={**ours.environment, "device_name": "another"})
    (path.parent / "apart").mkdir()
    (path.parent / "apart" / path.name).write_bytes(record.encode(theirs))
    path.rename(path.parent / "apart" / f"{path.name}.apart-1")
    assert run(finished).ended == {}
    assert record.read(path) == ours
    assert record.read(path.parent / "apart" / path.name) == theirs


def test_a_failure_on_another_device_does_not_keep_the_old_record_from_counting(finished: Path) -> None:
    path = files(finished)[0]
    ours = record.read(path)
    failed = dataclasses.replace(ours, status=Status.OUT_OF_MEMORY, result={}, cost={}, started="2099-01-01T00:00:00Z")
    (path.parent / "apart").mkdir()
    path.rename(path.parent / "apart" / path.name)
    path.write_bytes(record.encode(failed))
    assert run(finished).ended == {}
    assert record.read(path) == ours
    assert list((path.parent / "apart").iterdir()) == []


def test_a_record_that_cannot_be_opened_is_left_alone(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files(finished)[0]
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match=rf"cannot read the record .*{path.name}: Permission denied"):
        run(finished)
    assert path in files(finished)


def test_a_file_in_the_place_of_apart_is_named(finished: Path) -> None:
    (finished / "rehearsal" / "apart").write_text("")
    changed = rehearsal.study.parse("rehearsal", {"architecture": "plain", "depth": 18, "epochs": 3}, seeds=[0])
    with pytest.raises(ValueError, match=r"rehearsal/apart.*: File exists"):
        run(finished, changed)


def test_other_seeds_and_depths_of_the_study_stay_where_they_are(finished: Path) -> None:
    fewer = rehearsal.study.parse("rehearsal", {"architecture": "plain", "depth": [18], "epochs": 2}, seeds=[5])
    summary = run(finished, fewer, whole=STUDY)
    assert summary.ended == {Status.OK: 2}
    assert len(files(finished)) == DONE + 2
    assert not (finished / "rehearsal" / "apart").exists()


def test_a_reworded_label_does_not_undo_a_record(finished: Path) -> None:
    path = files(finished)[0]
    found = record.read(path)
    renamed = dataclasses.replace(found.trial.architecture, label="earlier words")
    trial = dataclasses.replace(found.trial, architecture=renamed)
    path.write_bytes(record.encode(dataclasses.replace(found, trial=trial)))
    assert run(finished).done == DONE


def test_two_records_of_one_trial_the_latest_finished_one_counts(finished: Path) -> None:
    path = files(finished)[0]
    older = dataclasses.replace(record.read(path), started="2020-01-01T00:00:00+00:00")
    failed = dataclasses.replace(older, status=Status.ERROR, started="2099-01-01T00:00:00+00:00")
    (path.parent / "copy-1.json").write_bytes(record.encode(older))
    (path.parent / "copy-2.json").write_bytes(record.encode(failed))
    told = Told()
    assert run(finished, told=told).done == DONE
    assert path in files(finished)
    assert {p.name for p in (path.parent / "apart").iterdir()} == {"copy-1.json", "copy-2.json"}
    assert sum("second record" in line for line in told.lines) == 2


def test_damage_is_set_aside_named_and_run_again(finished: Path, reference: Path) -> None:
    torn, flipped = files(finished)[:2]
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name + ".corrupt-1").write_bytes(b"from an earlier time")
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 4
    flipped.write_bytes(data)
    told = Told()
    assert run(finished, told=told).ended == {Status.OK: 2}
    assert torn.with_name(torn.name + ".corrupt-2").stat().st_size == 100
    assert flipped.with_name(flipped.name + ".corrupt-1").read_bytes() == bytes(data)
    assert all(any(path.name in line for line in told.lines) for path in (torn, flipped))
    assert table(finished) == table(reference)


def test_a_record_of_a_later_version_is_not_written_over(finished: Path) -> None:
    path = files(finished)[0]
    content = json.loads(path.read_text())
    content["schema"] += 1
    content["sha256"] = record._hash(content["schema"], json.dumps(content["body"], sort_keys=True))
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"{path.name}.*later version"):
        run(finished)
    assert path.read_bytes() == before


def test_leftovers_of_an_interrupted_write_are_swept_up(finished: Path) -> None:
    (finished / "rehearsal" / "checkpoints").mkdir()
    leftovers = [finished / "rehearsal" / name for name in (".abc.tmp", "checkpoints/.abc.tmp")]
    for leftover in leftovers:
        leftover.write_bytes(b'{"schema": 1')
    run(finished)
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_moved_folder_goes_on(finished: Path, tmp_path: Path) -> None:
    finished.rename(tmp_path / "else where")
    assert run(tmp_path / "else where").done == DONE
