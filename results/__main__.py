"""The command line of the results: records become tables and figures."""

if __name__ == "__main__":
    from bench import first

    first.begin()

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.command import patience, serve, typer
from bench.options import Out, Records, StudyName
from bench.plan.words import counted
from results.command import loaded, ready

if TYPE_CHECKING:
    from results.made import Made
    from results.tables import Frames

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command(help=__doc__)
def results(
    study: StudyName,
    records: Records = "results/records",
    out: Out = "results/out",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what difference the planned seeds could see.")] = False,
    figures: Annotated[bool, typer.Option(help="Draw figures too.")] = True,
    paper: Annotated[str, typer.Option(help="Column width of a paper that figures are for: 3.25in, 8.3cm.")] = "",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Training curves as event files too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON, and write nothing.")] = False,
) -> None:
    """Writes OUT/STUDY/: tables as parquet and CSV, figures as SVG, PDF and PNG."""
    from bench.plan import study as studies
    from results.made import Made, fingerprint

    column = inches(paper)
    asked = {"--json": as_json, "--plan": plan, "--tensorboard": tensorboard}
    if (as_json or plan) and len(too_many := [name for name, given in asked.items() if given]) > 1:
        raise ValueError(f"{' and '.join(too_many)} do not go together: each is a task of its own")
    found = studies.load(study)
    folders = [Path(records) / name for name in found.parts]
    if as_json:
        from results import files

        print(files.as_json(loaded(found, study, folders), found.name, found.title))
        return
    if plan:
        from results import tables
        from results.plan import lines

        for line in lines(found, tables.load(folders)):
            typer.echo(line)
        return
    target = Path(out) / found.name
    made = Made(target / ".made.json", fingerprint(found, "", folders, figures, column))
    before = None if tensorboard else made.said()
    if before is not None:
        *warnings, line = before
        _tell(warnings, f"{line}, as they were: nothing changed since they were made")
        return
    if tensorboard and not any(folder.is_dir() for folder in folders) and any((Path(out) / "traces").glob("*.gz")):
        print(f"no curves: study {found.name!r} has no records yet; the traces of `make profile` are there")
        return
    frames = loaded(found, study, folders)
    ready(target)
    if figures:
        patience("drawing the figures: up to a minute ...")
    _write(frames, target, figures, column, made)
    if tensorboard:
        from results.event_files import write_curves

        events = write_curves(frames, target / "tensorboard")
        print(f"{counted(len(events), 'event file')}: tensorboard --logdir {target / 'tensorboard'}")


def inches(text: str) -> float:
    """Reads a width: 3.25in, 8.3cm or 83mm; empty is none (0).

    Raises:
        ValueError: It is none of these, or no width that a column can have.
    """
    if not text.strip():
        return 0.0
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(in|cm|mm)", text.strip())
    width = float(found[1]) / {"in": 1.0, "cm": 2.54, "mm": 25.4}[found[2]] if found else 0.0
    if not 2 <= width <= 12:
        raise ValueError(f"--paper {text!r} must be the width of a column, 2 to 12 inches: 3.25in, 8.3cm or 83mm")
    return width


def _write(frames: "Frames", target: Path, figures: bool, column: float, made: "Made") -> None:
    from results import files

    paths, said = files.save(frames, target)
    if figures:
        from results.figures.table import write_all

        paths += write_all(frames, target, column)
    warnings = [said, *frames.warnings, *(f"{name}: not read: {reason}" for name, reason in frames.damaged)]
    warnings = [line for line in warnings if line]
    failed = frames.trials["status"].value_counts().drop("ok", errors="ignore")
    ends = "".join(f", {count} {status}" for status, count in failed.items())
    trained, priced = counted(len(frames.trials), "training"), counted(len(frames.cost), "cost")
    line = f"{trained}{ends}; {priced}; {len(paths)} files in {target}"
    made.remember(paths, (*warnings, line))
    _tell(warnings, line)


def _tell(warnings: list[str], line: str) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(line)


if __name__ == "__main__":
    serve(app)
