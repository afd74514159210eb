"""A record is whole or not there: any cut, any flip, any garbage is refused and named, and nothing is executed."""

import dataclasses
import errno
import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plan.trial import Trial
from bench.store import record
from bench.store.record import FromTheFuture, Record, Status, Unreadable
from models.spec import ARCHITECTURES

TRIAL = Trial(study="s", architecture=ARCHITECTURES["plain"], depth=18, seed=3, probes=("lesions",), grow_to=(34, 66))
SMALL = Record(TRIAL, Status.DIVERGED, "loss is nan", {"device": "cpu"}, {"train_error": math.nan}, [{"epoch": 1}])
FIXTURES = Path(__file__).parent / "fixtures"


def signed(body: Any, schema: Any = record.SCHEMA) -> bytes:
    """A file whose SHA-256 agrees with whatever it holds."""
    digest = hashlib.sha256(json.dumps([schema, body], sort_keys=True).encode()).hexdigest()
    return json.dumps({"schema": schema, "sha256": digest, "body": body}).encode()


def same(one: Record, other: Record) -> bool:
    """Equality in which NaN equals NaN."""
    return repr(one) == repr(other)


numbers = st.floats() | st.integers(-(2**53), 2**53) | st.booleans() | st.none()
plain_data = st.recursive(
    numbers | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), plain_data), st.text())
def test_whatever_json_can_say_comes_back_as_it_was(content: dict[str, Any], message: str) -> None:
    before = Record(TRIAL, Status.OK, message, environment=content, result={"deep": content})
    assert same(record.decode(record.encode(before)), before)


def test_file_is_strict_json_and_keeps_what_is_not_finite() -> None:
    data = record.encode(dataclasses.replace(SMALL, cost={"a": math.inf, "b": [-math.inf, 1.5]}))

    def refuse(word: str) -> None:
        raise AssertionError(f"bare {word}")

    json.loads(data, parse_constant=refuse)
    assert record.decode(data).cost == {"a": math.inf, "b": [-math.inf, 1.5]}
    assert math.isnan(record.decode(data).result["train_error"])


def test_truncated_at_every_byte_offset() -> None:
    data = record.encode(SMALL)
    # Without its last newline the record is still whole.
    for length in range(len(data) - 1):
        with pytest.raises(Unreadable):
            record.decode(data[:length])


def test_every_single_bit_flip_is_refused_or_harmless() -> None:
    """A flip may hit white space or turn 1.0 into 1.0 spelt otherwise; it may never change what is read."""
    data = record.encode(SMALL)
    refused, later = 0, 0
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            try:
                assert same(record.decode(bytes(flipped)), SMALL)
            except Unreadable as error:
                refused += 1
                later += isinstance(error, FromTheFuture)
    assert later == 0, "damage must not pass for a later version"
    assert refused > 0.95 * 8 * len(data)


GARBAGE = {
    "empty": b"",
    "zeros": bytes(4096),
    "utf-16": record.encode(SMALL).decode().encode("utf-16"),
    "array": b"[]",
    "number": b"1",
    "deep": b"[" * 100_000,
    "deep in a dict": b'{"schema": 1, "sha256": "", "body": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "bare NaN": b'{"schema": NaN, "sha256": NaN, "body": NaN}',
    "huge number": b'{"schema": ' + b"9" * 10_000 + b', "sha256": "", "body": 1}',
    "pickle": b"\x80\x04cposix\nsystem\n(S'touch executed'\ntR.",
    "body is a list": signed([1]),
    "no trial": signed({"status": "ok"}),
    "unknown status": signed({**json.loads(record.encode(SMALL))["body"], "status": "fine"}),
    "schema is a text": signed({}, "1"),
    "field of another kind": signed({**json.loads(record.encode(SMALL))["body"], "epochs": "none"}),
    "row of another kind": signed({**json.loads(record.encode(SMALL))["body"], "epochs": [1]}),
    "field too many": signed({**json.loads(record.encode(SMALL))["body"], "extra": 1}),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_nothing_in_it_happens(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_bytes(GARBAGE[name])
    good, bad = record.load(tmp_path)
    assert (good, [path.name for path, _ in bad]) == ([], ["x.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_gigabyte_of_garbage_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**30)  # sparse
    assert "larger than" in str(record.load(tmp_path)[1][0][1])


def test_a_record_of_a_later_version_is_named_and_left_alone(tmp_path: Path) -> None:
    data = signed({"new": "form"}, record.SCHEMA + 1)
    (tmp_path / "x.json").write_bytes(data)
    ((path, reason),) = record.load(tmp_path)[1]
    assert isinstance(reason, FromTheFuture)
    assert str(record.SCHEMA + 1) in str(reason)
    assert path.read_bytes() == data


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("record-*.json")), ids=lambda p: p.name)
def test_every_released_schema_version_still_loads(path: Path) -> None:
    found = record.read(path)
    assert found.status == Status.DIVERGED
    assert found.trial.depth == 1002
    assert found.result["diverged_step"] == 12
    assert math.isnan(found.result["train_error"])
    assert record.decode(record.encode(found)).trial == found.trial


def test_a_field_that_a_later_trial_adds_does_not_rename_older_ones() -> None:
    assert TRIAL.digest == dataclasses.replace(TRIAL, momentum=0.9).digest
    assert TRIAL.digest != dataclasses.replace(TRIAL, momentum=0.8).digest


def test_file_names_sort_by_depth_and_stay_inside_the_folder() -> None:
    names = [record.file_name(dataclasses.replace(TRIAL, depth=d), []) for d in (1002, 18, 258)]
    assert sorted(names) == [names[1], names[2], names[0]]
    odd = dataclasses.replace(TRIAL, dataset="folder:/../../etc/\x00<b>" + "x" * 500)
    name = record.file_name(odd, ["dataset"])
    assert len(name) < 200
    assert Path(name).name == name
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.=")


SYSCALLS = [(os, "fsync"), (os, "replace"), (os, "chmod"), (os, "fdopen"), (os, "open"), (record.tempfile, "mkstemp")]


@pytest.mark.parametrize(("module", "call"), SYSCALLS, ids=lambda x: str(getattr(x, "__name__", x)))
@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_at_any_step_of_a_write_leaves_the_old_file_whole(
    module: Any, call: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    record.write(path, b"old")
    real, calls = getattr(module, call), 0

    def full(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **named)

    monkeypatch.setattr(module, call, full)
    try:
        record.write(path, b"new")
    except OSError:
        assert path.read_bytes() in (b"old", b"new")
    else:
        assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"], "no temporary file is left"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_a_folder_still_gets_whole_records(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    record.write(tmp_path / "r.json", record.encode(SMALL))
    assert same(record.read(tmp_path / "r.json"), SMALL)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_a_record_is_for_the_umask_to_say(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        record.write(tmp_path / "x.json", b"x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == mode


def sealed(**changes: Any) -> bytes:
    """A whole record of changed content: its SHA-256 agrees, as another tool or version would write it."""
    body = json.loads(record.encode(SMALL))["body"]
    for path, value in changes.items():
        place = body
        *parts, last = path.split("__")
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    text = json.dumps(body)
    return f'{{"schema": 1, "sha256": "{record._hash(1, text)}", "body": {text}}}\n'.encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"environment__cores": 10**400},
        {"seconds": 10**400},
        {"result__n_train": -(10**30)},
        {"trial__depth": 2**63},
        {"probes__odd__deep": [[{"k": 10**25}]]},
        {"cost__step_times_s": 3},
        {"cost__step_times_s": ["fast"]},
        {"cost__warmup_times_s": {"a": 1}},
        {"cost__peak_memory_bytes": "much"},
        {"cost__peak_memory_bytes": [1]},
        {"result__n_train": "all"},
        {"result__steps": None},
        {"result__steps_planned": {"float": "inf"}},
        {"trial__lr": None},
        {"trial__depth": "18"},
        {"trial__depth": 0},
        {"trial__lr": 0.0},
        {"trial__momentum": 1.5},
        {"trial__warmup_epochs": 1000.0},
        {"trial__layout": "four"},
        {"trial__drop_last": 1},
        {"trial__grow_to": [[66]]},
        {"result__train_error": {"float": 10**310}},
        {"trial__architecture__factory": True},
        {"trial__architecture__name": 3},
        {"trial__architecture__zero_last": "yes"},
    ],
)
def test_whole_but_odd_records_are_unreadable_in_one_line(changes: dict[str, Any]) -> None:
    assert record.decode(sealed()).trial == TRIAL
    with pytest.raises(record.Unreadable) as caught:
        record.decode(sealed(**changes))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_lone_surrogates_become_a_question_mark() -> None:
    """A host's name need not be UTF-8; tables and pages are."""
    found = record.decode(sealed(environment__host="caf\udce9", message="\ud800", probes__x={"\udfff": "\udc00"}))
    assert (found.environment["host"], found.message, found.probes["x"]) == ("caf?", "?", {"?": "?"})
    assert record.decode(sealed(environment__host="\U0001f600")).environment["host"] == "\U0001f600"
