"""Frames as files: parquet is canonical, CSV a convenience. Reads nothing, computes nothing."""

import io
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from bench.store.record import write
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
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            table = getattr(frames, name)
            if parquet:
                buffer = io.BytesIO()
                table.to_parquet(buffer, index=False)
                write(folder / f"{name}.parquet", buffer.getvalue())
                paths.append(folder / f"{name}.parquet")
            write(folder / f"{name}.csv", harmless(table).to_csv(index=False, lineterminator="\n").encode())
            paths.append(folder / f"{name}.csv")
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror or error}") from None
    return paths, "" if parquet else "pyarrow is not installed: tables are written as CSV only, without parquet"


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with an apostrophe before texts that a spreadsheet would take for a formula."""
    safe = table.copy()
    # Texts are of dtype "str" since pandas 3, of "object" before.
    for name in safe.columns[(safe.dtypes == "str") | (safe.dtypes == "object")]:
        risky = safe[name].str.startswith(_FORMULA, na=False)
        if risky.any():
            safe[name] = safe[name].where(~risky, "'" + safe[name])
    return safe
