"""Verdicts as data: what the page says, in a form that a script reads."""

import csv
import json
import re
from pathlib import Path

import pytest
from made_page import HOSTILE, hostile
from typer.testing import CliRunner

from reports import __main__ as command_line
from reports.page import data, verdicts
from reports.page.context import Source


def test_rows_are_the_findings_of_the_claims_judged_here(made: Source) -> None:
    rows = data.rows(made)
    judged = [finding for _, found in verdicts.judged_here(made.study, made.findings) for finding in found]
    assert [(r["claim"], r["subject"], r["verdict"]) for r in rows] == [
        (f.claim, f.subject, str(f.verdict)) for f in judged
    ]
    assert {r["verdict"] for r in rows} > {"supported"}
    digests = set(made.frames.trials["digest"]) | set(made.frames.cost["digest"])
    assert all(set(r["trials"]) <= digests for r in rows)
    assert any(r["trials"] for r in rows)


def test_the_page_holds_what_json_says_and_no_text_can_end_it(made: Source, page: str, hostile_page: str) -> None:
    evil = hostile()
    for source, text in ((made, page), (evil, hostile_page)):
        (block,) = re.findall(r'<script type="application/json" id="verdicts">(.*?)</script>', text, re.S)
        assert json.loads(block) == json.loads(data.as_json(source))
        assert not set("<>&") & set(block)
    told = json.loads(data.as_json(evil))
    assert told["study"] in HOSTILE or told["title"], "texts are there as they are"


def test_files_beside_the_tables_and_json_alone(made: Source, tmp_path: Path) -> None:
    saved = data.save(made, tmp_path / "made-up")
    assert [path.name for path in saved] == ["verdicts.json", "verdicts.csv"]
    told = json.loads(saved[0].read_text())["verdicts"]
    with saved[1].open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["claim"] for row in listed] == [row["claim"] for row in told]
    for row, same in zip(listed, told, strict=True):
        for name in ("effect", "low", "high"):
            number = float(row[name]) if row[name] else None
            assert (number is None) == (same[name] is None)
            assert number is None or number == pytest.approx(same[name])


def test_json_on_the_command_line_writes_nothing(tmp_path: Path) -> None:
    asked = ["digits", "--records", str(published(tmp_path)), "--html", str(tmp_path / "html"),
             "--out", str(tmp_path / "out"), "--json"]  # fmt: skip
    done = CliRunner().invoke(command_line.app, asked)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["study"] == "digits"
    assert {"thousand-layers", "plain-degrades"} <= {row["claim"] for row in told["verdicts"]}
    assert not (tmp_path / "html").exists()
    assert not (tmp_path / "out").exists()


def published(folder: Path) -> Path:
    """The published records of the default study, where a run would have put them."""
    (machine,) = [each for each in (command_line.PUBLISHED_RECORDS / "digits").iterdir() if each.is_dir()]
    (folder / "records").mkdir()
    (folder / "records" / "digits").symlink_to(machine.resolve())
    return folder / "records"
