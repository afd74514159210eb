"""A study in a notebook: the page's numbers as frames and pictures, and the example's cells run as they stand."""

import json
import subprocess
import sys
from pathlib import Path

import made_up
import pytest

from reports.__main__ import gather
from reports.page import data
from results import study

NOTEBOOK = Path(study.ROOT) / "examples" / "notebook.ipynb"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    made = made_up.study_records(("plain", "resnet"), (18, 258), range(3), study="digits")
    made_up.write(folder / "here" / "digits", made)
    for machine in ("one", "two"):
        made_up.write(folder / "apart" / "digits" / machine, made)
    made_up.write(folder / "single" / "digits" / "one", made)
    (folder / "none" / "digits").mkdir(parents=True)
    return folder


def test_it_has_the_numbers_of_the_page(records: Path) -> None:
    read, page = study.read("digits", records / "here"), gather("digits", records / "here")
    assert read.verdicts.equals(data.table(page))
    assert len(read.verdicts)
    for name in ("trials", "cells", "cost", "epochs"):
        assert getattr(read, name).equals(getattr(page.frames, name)), name
    assert repr(read) == (f"study digits: 12 trainings, 4 cost trials, 1 warning; from {records / 'here' / 'digits'}")


def test_a_figure_is_shown_as_a_picture(records: Path) -> None:
    picture = study.read("digits", records / "here").figure("train-error-by-depth")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert "<svg" in picture._repr_svg_()
    assert repr(picture).startswith("Training error against depth. ")


def test_the_machine_is_chosen_where_there_is_one(records: Path) -> None:
    assert study.read("digits", records / "single").folders == (records / "single" / "digits" / "one",)
    assert study.read("digits", records / "apart", machine="two").folders == (records / "apart" / "digits" / "two",)
    with pytest.raises(ValueError, match="several machines: say machine='one' or machine='two'"):
        study.read("digits", records / "apart")


def test_the_published_records_are_read_where_there_are_none(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "published").symlink_to(records / "single")
    assert "published" in repr(study.read("digits"))
    (tmp_path / "results" / "records").symlink_to(records / "none")
    assert "published" in repr(study.read("digits"))
    (tmp_path / "results" / "records").unlink()
    (tmp_path / "results" / "records").symlink_to(records / "here")
    assert "published" not in repr(study.read("digits"))
    assert "published" in repr(study.read("digits", machine="one"))
    # Only where nobody named another folder.
    with pytest.raises(ValueError, match="no records of 'digits' in elsewhere: run the study first"):
        study.read("digits", "elsewhere")


def test_a_wrong_name_is_told_with_the_choices(records: Path) -> None:
    read = study.read("digits", records / "here")
    wrong = {
        r"unknown study 'digts'. Did you mean 'digits'\? Known: ": lambda: study.read("digts"),
        r"unknown machine 'twoo'. Did you mean 'two'\? Known: one, two": lambda: study.read(
            "digits", records / "apart", "twoo"
        ),
        r"unknown figure 'energie'. Did you mean 'energy'\? Known: train-error": lambda: read.figure("energie"),
        r"nothing for figure 'document-curve': .*; study 'document' fills it": lambda: read.figure("document-curve"),
        r"no records of 'digits' in .*: run the study first, make": lambda: study.read("digits", records / "none"),
    }
    for words, call in wrong.items():
        with pytest.raises(ValueError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


# What Jupyter does with a cell: runs it, and shows its last expression.
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names) if last else None
    shown = [kind for kind in ("_repr_html_", "_repr_png_") if value is not None and getattr(value, kind, None)]
    print(f"cell {number}:", type(value).__name__, *(kind for kind in shown if getattr(value, kind)()))
"""


def test_the_example_runs_as_it_stands() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    sources = json.dumps(["".join(cell["source"]) for cell in cells])
    # Where Jupyter would start it, and with nothing of the suite on Python's path.
    command = [sys.executable, "-W", "error", "-c", RUNNER]
    done = subprocess.run(command, cwd=NOTEBOOK.parent, input=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("cell ")]
    assert len(lines) == len(cells)
    assert sum(line.endswith("DataFrame _repr_html_") for line in lines) == 3
    assert sum(line.endswith("Picture _repr_png_") for line in lines) == 1
