"""Verdicts as data: a row per finding of the claims that a study judges, for CSV, JSON and notebooks.

Own file because page, command line and notebook take the same rows. Judges nothing.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from reports.page import verdicts
from reports.page.context import Source, machine
from results.files import as_csv, harmless, put, strict

# Of a finding, in this order; its rows of details stand on the page.
COLUMNS = (
    *("claim", "subject", "measure", "setting", "study", "verdict", "effect", "low", "high"),
    *("unit", "n", "steps", "reason", "failures", "beside", "trials"),
)


def rows(source: Source) -> list[dict[str, Any]]:
    """A row per finding, of each claim its headline first; a number that is not known is None."""
    return [
        {**{name: getattr(one, name) for name in COLUMNS}, "verdict": str(one.verdict), "trials": list(one.trials)}
        for _, findings in verdicts.judged_here(source.study, source.findings)
        for one in findings
    ]


def table(source: Source) -> pd.DataFrame:
    """The rows as a table; digests of trials in one text, apart by blanks."""
    found = pd.DataFrame([{**row, "trials": " ".join(row["trials"])} for row in rows(source)], columns=list(COLUMNS))
    numbers = dict.fromkeys(("effect", "low", "high", "steps"), "float64")
    return found.astype({**dict.fromkeys(set(COLUMNS) - {*numbers, "n"}, "str"), **numbers, "n": "int64"})


def as_json(source: Source) -> str:
    """Study, machine and rows as strict JSON, which HTML may hold in a script element."""

    content = {
        "study": source.study.name,
        "title": source.study.title,
        "machine": machine(source.frames),
        "verdicts": [strict(row) for row in rows(source)],
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    # No text may end the element that holds it, or open a comment in it.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def save(source: Source, folder: Path) -> list[Path]:
    """Writes verdicts.json and verdicts.csv, each whole or not at all.

    Raises:
        ValueError: One line: the folder cannot be written to.
    """
    return put(
        folder,
        (("verdicts.json", as_json(source).encode() + b"\n"), ("verdicts.csv", as_csv(harmless(table(source))))),
    )
