"""Frames as files: parquet is canonical, CSV a convenience. Reads nothing, computes nothing."""

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from bench.store.record import write
from results.described import described
from results.tables import Frames

NAMES = ("trials", "search", "epochs", "cost", "cells", "operators", "probes")

# A cell that begins so is run as a formula by spreadsheets (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def save(frames: Frames, folder: Path) -> tuple[list[Path], str]:
    """Writes every table, each file whole or not at all.

    Args:
        folder: Made when it is not there.

    Returns:
        The files, and a line to say when parquet could not be written (empty when it could).

    Raises:
        ValueError: One line: the folder cannot be written to.
    """
    parquet = find_spec("pyarrow") is not None

    def contents() -> Iterator[tuple[str, bytes]]:
        for name in NAMES:
            table = getattr(frames, name)
            if parquet:
                buffer = io.BytesIO()
                table.to_parquet(buffer, index=False)
                yield f"{name}.parquet", buffer.getvalue()
            yield f"{name}.csv", as_csv(harmless(table))
        yield "columns.csv", as_csv(dictionary(frames))

    paths = put(folder, contents())
    return paths, "" if parquet else "pyarrow is not installed: tables are written as CSV only, without parquet"


def strict(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """A row as strict JSON has it: a number that is not finite is None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def as_json(frames: Frames, study: str, title: str) -> str:
    """Study, every table row by row, and what was not read, as strict JSON: a number that is not known is null."""

    tables = {name: [strict(row) for row in getattr(frames, name).to_dict("records")] for name in NAMES}
    content = {
        "study": study,
        "title": title,
        "warnings": list(frames.warnings),
        "damaged": [{"file": file, "reason": reason} for file, reason in frames.damaged],
        **tables,
    }
    return json.dumps(content, indent=1, allow_nan=False)


def put(folder: Path, contents: Iterable[tuple[str, bytes]]) -> list[Path]:
    """Writes files by name, each whole or not at all, the next one made when the last is written.

    Raises:
        ValueError: One line: the folder cannot be written to.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents:
            write(folder / name, data)
            paths.append(folder / name)
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror or error}") from None
    return paths


def as_csv(table: pd.DataFrame) -> bytes:
    """A table as CSV, the same on every system."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode()


def dictionary(frames: Frames) -> pd.DataFrame:
    """What each column of each table is: its type, what it holds; and, of a metric, unit and better direction."""
    rows = [
        (name, column, str(kind), *described(name, str(column)))
        for name in NAMES
        for column, kind in getattr(frames, name).dtypes.items()
    ]
    return pd.DataFrame(rows, columns=["table", "column", "type", "label", "unit", "better"])


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with an apostrophe before texts that a spreadsheet would take for a formula."""
    safe = table.copy()
    # Texts are of dtype "str" since pandas 3, of "object" before.
    for name in safe.columns[(safe.dtypes == "str") | (safe.dtypes == "object")]:
        risky = safe[name].str.startswith(_FORMULA, na=False)
        if risky.any():
            safe[name] = safe[name].where(~risky, "'" + safe[name])
    return safe
