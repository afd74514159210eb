"""The typed form of a record: what was published has no other keys, and no code asks a record for one it has not."""

import ast
import random
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT
from bench.probes.table import PROBES
from bench.store import parts, record

ROOMS = ("bench", "results", "reports")
PARTS = {"environment": parts.Environment, "result": parts.Result, "cost": parts.Cost, "probes": parts.Probes}
# Before it stands in a record, an environment has the keys of today's.
KNOWN = {name: set(form.__annotations__) for name, form in {**PARTS, "environment": parts.Today}.items()}


def strangers(value: object, form: object, place: str = "") -> Iterator[str]:
    """Keys of a value that its form does not name, however deep."""
    if isinstance(value, list):
        inner = typing.get_args(form)
        for each in value:
            yield from strangers(each, inner[0] if inner else None, place)
    elif isinstance(value, dict):
        known = typing.get_type_hints(form) if typing.is_typeddict(form) else {}
        for key, each in value.items():
            if key not in known:
                yield f"{place}.{key}"
            else:
                yield from strangers(each, known[key], f"{place}.{key}")


def found_in(path: Path) -> list[str]:
    read = record.read(path)
    keys = [each for name, form in PARTS.items() for each in strangers(getattr(read, name), form, name)]
    return keys + list(strangers(read.epochs, list[parts.Epoch], "epochs"))


def test_records_have_no_other_keys() -> None:
    published = sorted((ROOT / "results" / "published").rglob("*.json"))
    some = random.Random(0).sample(published, 100) + sorted((Path(__file__).parent / "fixtures").glob("*.json"))
    assert {path.name: keys for path in some if (keys := found_in(path))} == {}


def test_another_key_is_seen() -> None:
    assert list(strangers({"train_eror": 0.1}, parts.Result, "result")) == ["result.train_eror"]
    cut = {"lesions": {"random": [{"k": 1, "errors": [0.1]}, {"kk": 1}]}}
    assert list(strangers(cut, parts.Probes, "probes")) == ["probes.lesions.random.kk"]


def test_every_probe_has_its_form() -> None:
    assert set(PROBES) == set(parts.Probes.__annotations__)


def unknown(source: str) -> set[str]:
    """What a source asks a part of a record for by `get`, which mypy lets pass, and that no record has."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            whose, key = node.func.value, node.args[0]
            name = getattr(whose, "attr", None) or getattr(whose, "id", "")
            if name in PARTS and isinstance(key, ast.Constant) and key.value not in KNOWN[name]:
                found.add(f"{name}.{key.value}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_asks_for_a_key_that_no_record_has(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert {file.name: keys for file in files if (keys := unknown(file.read_text(encoding="utf-8")))} == {}


def test_a_misspelt_question_is_seen() -> None:
    assert unknown("record.environment.get('devcie', '')\ncost.get('step_time_s')\n") == {
        "environment.devcie", "cost.step_time_s"
    }  # fmt: skip
    assert unknown("record.environment.get('device')\nframe.get('devcie')\nos.environ.get(name)\n") == set()
