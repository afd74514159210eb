"""`python -m reports STUDY --records A --against B`: what differs comes first, flips are found, a refusal is a line."""

import csv
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from made_up import cost_record, study_records, train_record, trial

from bench.command import serve
from bench.store.record import Record
from reports import __main__ as command_line

DEPTHS = (18, 66, 258, 1002)
Said = tuple[int, str, str]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study that judges whether more layers do harm, and costs."""
    path = tmp_path / "two.toml"
    path.write_text(
        'claims = ["residual-no-harm", "cost-grows"]\narchitecture = ["plain", "resnet"]\ndepth = [18, 66, 258, 1002]\n'
        "seed = [0, 1, 2]\nepochs = 5\nlr = 0.05\nwarmup_epochs = 1.0\n"
    )
    return path


@pytest.fixture
def typed(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """What a user types, and how it ends: exit code, output, errors."""

    def run(*words: str, name: str = "") -> Said:
        options = ["--html", str(tmp_path / "html"), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["reports", name or str(study), *words, *options])
        with pytest.raises(SystemExit) as ended:
            serve(command_line.app)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def good(architecture: str, depth: int, seed: int) -> float | None:
    return None if architecture == "plain" and depth > 66 else 0.01 + 0.002 * seed


def bad(architecture: str, depth: int, seed: int) -> float | None:
    return None if depth == 1002 else good(architecture, depth, seed)


def one() -> list[Record]:
    return study_records(("plain", "resnet"), DEPTHS, range(3), good, study="two")


def other() -> list[Record]:
    """Another PyTorch and date: 1002 layers diverge, steps take 1.3 times as long, 66 layers were never measured."""
    found = []
    for r in study_records(("plain", "resnet"), DEPTHS, range(3), bad, study="two"):
        if r.trial.purpose == "cost":
            if r.trial.depth == 66:
                continue
            r = dataclasses.replace(r, cost=r.cost | {"step_times_s": [1.3 * t for t in r.cost["step_times_s"]]})
        found.append(
            dataclasses.replace(r, environment=r.environment | {"torch": "2.16.0"}, started="2027-01-05T08:00")
        )
    return found


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    made_up.write(tmp_path / "a" / "two", one())
    made_up.write(tmp_path / "b" / "two", other())
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_a_flip_a_slope_and_a_missing_depth_are_told(
    typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path
) -> None:
    code, out, err = typed("--records", sides[0], "--against", sides[1])
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80 or str(tmp_path) in max(out.splitlines(), key=len)
    # What differs stands before any verdict, and what is equal is folded.
    head, _, rest = out.partition("Equal: ")
    assert re.search(r"PyTorch +2\.15\.0 +2\.16\.0", head)
    assert "made-up processor" not in head
    assert "device, host, system" in rest
    assert re.search(r"residual-no-harm +post-activation +✓ .* [✗?] .* (flips|contradicts)", out)
    with (tmp_path / "out" / "two" / "against.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    flipped = [r for r in rows if r["part"] == "verdict" and r["state"] in ("flips", "contradicts")]
    assert [(r["claim"], r["network"], r["a_said"]) for r in flipped] == [("residual-no-harm", "resnet", "supported")]
    assert [r["part"] for r in rows][:2] == ["environment"] * 2
    laws = [r for r in rows if r["part"] == "law"]
    assert {r["network"] for r in laws} == {"plain", "resnet"}
    assert all(float(r["ratio"]) == pytest.approx(1.3) and r["pairs"] == "3" for r in laws)
    gone = [r for r in rows if r["part"] == "cost" and r["state"] == "A only"]
    assert {(r["depth"], r["b"]) for r in gone} == {("66", "")}
    assert "2 of 8 costs" in out
    # Three seeds that ended on one side only: no difference, and no silence.
    (lost,) = [r for r in rows if (r["network"], r["depth"], r["measure"]) == ("resnet", "1002", "train_error")]
    assert (lost["state"], lost["b_said"], lost["pairs"], lost["difference"]) == ("differs", "3 failed", "3", "")
    page = (tmp_path / "html" / "two-against.html").read_text("utf-8")
    assert page.index("What differs in the environment</h2>") < page.index("Verdicts side by side</h2>")
    assert "Only large ratios mean something" in page


def test_equal_folders_differ_in_nothing(typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path) -> None:
    code, out, _ = typed("--records", sides[0], "--against", sides[0])
    assert code == 0
    assert "Nothing that the records tell." in out
    assert "Identical to the last digit: 24 of 24." in " ".join(out.split())
    assert not re.search(r"\b(flips|contradicts)$|[+−]0\.[0-9]*[1-9]\*?$", out, re.M)
    with (tmp_path / "out" / "two" / "against.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {r["state"] for r in rows if r["part"] == "verdict"} == {"same"}
    assert {r["ratio"] for r in rows if r["part"] in ("cost", "law")} == {"1.0"}
    assert {r["difference"] for r in rows if r["part"] == "error"} <= {"0.0", ""}


def test_a_machines_own_folder_is_taken_as_it_is(typed: Callable[..., Said], sides: tuple[str, str]) -> None:
    """As published records have it: results/published/STUDY/MACHINE holds the records themselves."""
    _, usual, _ = typed("--records", sides[0], "--against", sides[1], "--json")
    code, direct, _ = typed("--records", sides[0], "--against", f"{sides[1]}/two", "--json")
    assert code == 0
    assert json.loads(direct)["rows"] == json.loads(usual)["rows"]


def test_json_writes_nothing(typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path) -> None:
    code, out, _ = typed("--records", sides[0], "--against", sides[1], "--json")
    told = json.loads(out)
    assert (code, told["study"], told["flips"]) == (0, "two", 1)
    assert told["b"]["records"] == sides[1]
    assert told["decided_on_both"] >= 1
    assert not (tmp_path / "html").exists()
    assert not (tmp_path / "out").exists()


def test_another_recipe_is_named(typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path) -> None:
    made_up.write(tmp_path / "c" / "two", [train_record(trial("resnet", 18, s, "two", lr=0.2), 0.3) for s in range(3)])
    _, out, _ = typed("--records", sides[0], "--against", str(tmp_path / "c"))
    assert "Another recipe, not compared: resnet, 18 layers: lr 0.05 on A, 0.2 on B" in out
    assert "24 trainings on A, 3 on B, 0 of them the same trials." in out


def test_a_side_that_cannot_judge_is_a_dash_and_no_flip(
    typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path
) -> None:
    made_up.write(tmp_path / "c" / "two", [cost_record(trial("resnet", d, 0, "two")) for d in DEPTHS])
    _, out, _ = typed("--records", sides[0], "--against", str(tmp_path / "c"))
    assert re.search(r"residual-no-harm +post-activation +✓ .* – +A only", out)
    assert "The one verdict on both sides does not flip." in out


def test_requests_that_cannot_be_served_are_one_line_and_exit_2(
    typed: Callable[..., Said], sides: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep" / "two" / "machine").mkdir(parents=True)
    made_up.write(tmp_path / "strange", [train_record(trial(study="strange"))])
    for words, told in (
        (["--against", str(tmp_path / "nowhere")], "nowhere: no such folder; name one that holds two/ or its records"),
        (["--against", str(tmp_path / "empty")], "no folder two and no records in it; it is empty"),
        (["--against", str(tmp_path)], "it holds a, b, deep, empty, strange"),
        (["--against", str(tmp_path / "deep")], "only folders: machine; --against names another level"),
        (["--against", str(tmp_path / "strange")], "no record of study two; its records are of 'strange'"),
        (["--against", sides[1], "--published"], "--against compares two folders of records; it does not go with"),
    ):
        code, out, err = typed("--records", sides[0], *words)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", err)
        assert told in err
    code, _, err = typed("--against", sides[1], name="no-such-study")
    assert (code, err.count("\n")) == (2, 1)
    assert not (tmp_path / "html").exists()
    (tmp_path / "html").write_text("")
    code, _, err = typed("--records", sides[0], "--against", sides[1])
    assert code == 2
    assert re.fullmatch(r"error: --html [^\n]+ is a file, not a folder\n", err)
