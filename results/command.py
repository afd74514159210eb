"""What the report half's commands share: a folder made before any work, and a study's records with their misfits."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan.study import Study

if TYPE_CHECKING:
    from results.tables import Frames


# Wider lines are hard to read, and what goes into a file or a pipe is as wide as a usual terminal.
MOST_WIDTH = 80


def width(least: int) -> int:
    """Columns of the terminal that is printed to, between `least` and `MOST_WIDTH`; that many where there is none."""
    columns = shutil.get_terminal_size((MOST_WIDTH, 24)).columns if sys.stdout.isatty() else MOST_WIDTH
    return min(max(columns, least), MOST_WIDTH)


def ready(folder: Path) -> None:
    """Makes a folder, before any work.

    Raises:
        ValueError: One line: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {folder}")


@contextmanager
def tables_meanwhile(study: str, records: str, out: str) -> Iterator[None]:
    """Runs `python -m results` beside what is done in the block.

    Tables and page of study taste took 9 s so instead of 15, on 2 cores of an Intel Xeon.

    At the end it tells what that command said. What both refuse is left to the block to say, once.

    Raises:
        SystemExit: The block went well, and the command did not; its error is printed.
    """
    command = [sys.executable, "-m", "results", study, "--records", records, "--out", out]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tables:
        try:
            yield
        except ValueError:
            said, faults = tables.communicate()
            if tables.returncode == 0:
                print(f"{faults}{said}", end="", file=sys.stderr)
            raise
        said, faults = tables.communicate()
    print(faults, end="", file=sys.stderr)
    print(said, end="")
    if tables.returncode:
        raise SystemExit(tables.returncode)


def loaded(study: Study, name: str, folders: Sequence[Path], option: str = "--records") -> "Frames":
    """The records of a study's folders; those of trials that the study does not have are warned of.

    Args:
        study: What is asked.
        name: As the user named it.
        folders: Of its records, one a part.
        option: By which the user named them.

    Raises:
        ValueError: One line: there is no such folder, or it holds other folders only, a level above records.
    """
    from results import tables

    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        raise ValueError(f"no records in {folders[0]}: run the study first, python -m bench run {name}")
    if not any(next(folder.glob("*.json"), None) for folder in there):
        inside = sorted({entry.name for folder in there for entry in folder.iterdir() if entry.is_dir()})
        if others := [entry for entry in inside if entry not in ("apart", "checkpoints")]:
            raise ValueError(
                f"no records in {there[0]}, only folders: {', '.join(others)}; {option} names another level"
            )
    frames = tables.load(folders)
    if count := _strangers(study, frames):
        verb = "record is" if count == 1 else "records are"
        line = f"{count} {verb} of trials that this study does not ask for (any more); running it keeps them apart"
        frames = dataclasses.replace(frames, warnings=(*frames.warnings, line))
    return frames


def _strangers(study: Study, frames: "Frames") -> int:
    """Records of no trial of the study, whatever their seed: other seeds may be asked for."""
    count = 0
    for table, purpose in ((frames.trials, "train"), (frames.cost, "cost")):
        # Each once, whatever its seeds: a thousand records of fifty seeds took a second otherwise.
        mine = {dataclasses.replace(trial, seed=0) for trial in study.trials if trial.purpose == purpose}
        for seed, digests in table.groupby("seed")["digest"]:
            asked = {dataclasses.replace(trial, seed=int(seed)).digest for trial in mine}
            count += int((~digests.isin(asked)).sum())
    # A search goes on to rates beyond those that its study names.
    mine = {dataclasses.replace(trial, seed=0, lr=1.0) for trial in study.search}
    for (seed, lr), digests in frames.search.groupby(["seed", "lr"])["digest"]:
        asked = {dataclasses.replace(trial, seed=int(seed), lr=float(lr)).digest for trial in mine}
        count += int((~digests.isin(asked)).sum())
    return count
