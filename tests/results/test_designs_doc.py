"""docs/designs.md says what the published records say."""

import re

import pandas as pd
import pytest

from bench.plan.checkout import ROOT
from models.spec import ARCHITECTURES
from results import tables

TEXT = (ROOT / "docs" / "designs.md").read_text(encoding="utf-8")
DEPTHS = (18, 66, 258, 1002)


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    found = []
    for study in ("designs", "designs-transformer"):
        (machine,) = (ROOT / "results" / "published" / study).iterdir()
        found.append(tables.load([machine]).cells)
    every = pd.concat(found)
    # The fully connected forms of the ladder's own blocks are told in words.
    return every[every["layout"] != "dense"]


def told() -> dict[str, list[str]]:
    """By row: what the table says of each depth."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", TEXT.partition("## Beside what their papers say")[2], re.M)
    return {name: [cell.strip() for cell in rest.split("|")[1:5]] for name, rest in rows}


def measured(cells: pd.DataFrame, name: str, depth: int) -> str:
    found = cells[(cells["architecture"] == name) & (cells["depth"] == depth)]
    if found.empty:
        return "–"
    cell = found.iloc[0]
    if cell["n_failed"]:
        return f"diverged {cell['n_diverged']} of {cell['n']}"
    return f"{100 * cell['train_error_mean']:.1f}"


def test_the_table_says_what_was_measured_of_every_design(cells: pd.DataFrame) -> None:
    expected = {
        name: [measured(cells, name, depth) for depth in DEPTHS] for name in set(cells["architecture"]) - {"plain"}
    }
    assert told() == expected


def test_every_design_has_its_source_in_the_first_table(cells: pd.DataFrame) -> None:
    first = TEXT.partition("## Where each row is from")[2].partition("## ")[0]
    named = set(
        re.findall(r"`([a-z0-9-]+)`", "\n".join(line.split("|")[1] for line in first.splitlines() if "|" in line))
    )
    assert set(cells["architecture"]) - {"plain"} <= named <= set(ARCHITECTURES) | {"dense-four", "transformer"}
