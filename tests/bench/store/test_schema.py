"""The JSON Schema of a record: what was published is valid, what is no record is not."""

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import pytest
from jsonschema import Draft202012Validator

from bench.plan.checkout import ROOT
from bench.store import record
from bench.store.schema import _of, schema

PUBLISHED = ROOT / "results" / "published"
VALID = Draft202012Validator(schema())


def kinds() -> list[Path]:
    """The first record of each study, architecture and purpose, and those of older schemas."""
    found: dict[tuple[Path, str, str], Path] = {}
    for path in sorted(PUBLISHED.rglob("*.json")):
        words = path.stem.split("-")
        found.setdefault((path.parent, words[0], words[-2]), path)
    return [*found.values(), *sorted((Path(__file__).parent / "fixtures").glob("*.json"))]


def faults(content: object) -> list[str]:
    return [f"{each.json_path}: {each.message:.200}" for each in VALID.iter_errors(content)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_published_records_of_every_kind_are_valid() -> None:
    paths = kinds()
    assert {path.parent.parent.name for path in paths} > {each.name for each in PUBLISHED.iterdir()}
    assert {path.name: said for path in paths if (said := faults(json.loads(path.read_bytes())))} == {}


SOUND = made_up.train_record(made_up.trial("plain", 258, probes=("gradient_norms",)), None, train_loss=math.inf)


def test_numbers_that_are_not_finite_have_their_word() -> None:
    text = record.encode(SOUND).decode()
    assert '{"float": "nan"}' in text
    assert faults(json.loads(text)) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: whole.pop("sha256"),
        lambda whole: whole.update(schema=2),
        lambda whole: whole["body"].pop("trial"),
        lambda whole: whole["body"]["trial"].pop("depth"),
        lambda whole: whole["body"]["trial"].update(depth="258"),
        lambda whole: whole["body"].update(status="fine"),
        lambda whole: whole["body"]["result"].update(train_eror=0.1),
        lambda whole: whole["body"]["result"].update(steps=7.5),
        lambda whole: whole["body"]["result"].update(test_loss={"float": "many"}),
        lambda whole: whole["body"]["probes"]["gradient_norms"].update(norms=["1.0"]),
    ],
)
def test_what_is_no_record_is_not_valid(harm: Callable[[Any], object]) -> None:
    whole = json.loads(record.encode(SOUND))
    hurt = copy.deepcopy(whole)
    harm(hurt)
    assert faults(whole) == []
    assert len(faults(hurt)) == 1


def test_a_type_that_it_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError, match="no JSON Schema is known for"):
        _of(set[int], {})


def test_a_command_prints_it() -> None:
    words = [sys.executable, "-m", "bench", "schema"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == schema()
