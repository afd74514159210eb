"""What the gate leaves for others: values as JSON, and a figure; both are read back."""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.regressions.made_rounds import MACHINE, serve, steady


def ladder(slower: float) -> dict[str, float]:
    return {"step 18 plain": 0.1, "step 130 plain": slower}


def test_json_has_what_customsmallerisbetter_reads_and_the_interval_as_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a first run, which saves a baseline, and of a later one, whose own values it has."""
    path = tmp_path / "made" / "values.json"
    for seconds in (0.3, 0.31):
        rounds = steady(**ladder(seconds))
        code = serve(monkeypatch, tmp_path, rounds, "--json", str(path), names=tuple(ladder(0))).code
        assert code == 0
        found = json.loads(path.read_text())
        assert all({"name", "unit", "value", "range", "extra"} <= set(each) for each in found)
        assert all(isinstance(each[key], str) for each in found for key in ("name", "unit", "range", "extra"))
        by_name = {each["name"]: each for each in found}
        assert len(by_name) == len(found) == 6, "two benchmarks and their slope, by two clocks"
        step = by_name["step 130 plain (wall)"]
        assert (step["value"], step["low"], step["high"], step["unit"]) == (seconds,) * 3 + ("calibrations",)
        assert step["machine"] == MACHINE
        assert "NVIDIA H200, torch 2.15.0, Python 3.11.7" in step["extra"]
        slope = by_name["step plain per layer (processor)"]
        assert slope["value"] == pytest.approx((seconds - 0.1) / 112)
        assert slope["unit"] == "calibrations per layer"


def test_json_of_two_sides_has_their_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slower = lambda python, turn, name: (1.2, 1.2) if python == sys.executable else (1.0, 1.0)  # noqa: E731
    path = tmp_path / "ratios.json"
    assert serve(monkeypatch, tmp_path, slower, "--against", "other", "--json", str(path)).code == 1
    found = {each["name"]: each for each in json.loads(path.read_text())}
    assert (found["step (wall)"]["value"], found["step (wall)"]["unit"]) == (1.2, "times other")


def test_a_file_with_benchers_ending_has_benchers_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "values.bmf.json"
    serve(monkeypatch, tmp_path, steady(step=2.0), "--json", str(path))
    metric = {"value": 2.0, "lower_value": 2.0, "upper_value": 2.0}
    assert json.loads(path.read_text())["step"] == {"wall": metric, "processor": metric}


def test_json_that_cannot_be_written_is_refused_before_any_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.json", tmp_path):
        found = serve(monkeypatch, tmp_path, steady(), "--json", str(path))
        said = capsys.readouterr().err
        assert (found.code, found.asked, said.count("\n")) == (2, [], 1), said


def test_a_comparison_is_drawn_and_its_last_line_names_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slower(python: str, turn: int, name: str) -> tuple[float, float]:
        return (ladder(0.36 if python == sys.executable else 0.3)[name],) * 2

    serve(monkeypatch, tmp_path, slower, "--against", "other", names=tuple(ladder(0)), drawn=True)
    path = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("figure: "))
    assert path.parent == tmp_path
    text = path.read_text()
    ElementTree.fromstring(text)
    assert not re.search(r"""(?:href|src)=["'](?!#)""", text), "it needs no other file"
    words = re.findall("<title>(.*?)</title>", text)
    assert "step 130 plain, wall, 300 to 360 ms, 1.200 times [1.200, 1.200]" in [re.sub(" +", " ", w) for w in words]
    assert any(word.startswith("step plain per layer") and "1.786 to 2.321 ms per layer" in word for word in words)
