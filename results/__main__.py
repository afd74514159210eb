"""The command line of the results: records become tables and figures."""

if __name__ == "__main__":
    import signal

    # See bench/__main__.py.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.command import serve, typer
from results.command import loaded, ready

if TYPE_CHECKING:
    from results.tables import Frames

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command(help=__doc__)
def results(
    study: Annotated[str, typer.Argument(help="A built-in study, or the path of your own .toml file.")],
    records: Annotated[str, typer.Option(help="Folder of the records.")] = "results/records",
    out: Annotated[str, typer.Option(help="Folder that tables and figures are written to.")] = "results/out",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what difference the planned seeds could see.")] = False,
    figures: Annotated[bool, typer.Option(help="Draw figures too.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Training curves as event files too.")] = False,
) -> None:
    """Writes OUT/STUDY/: tables as parquet and CSV, figures as SVG and PNG."""
    from bench.plan import study as studies
    from results import tables

    found = studies.load(study)
    folders = [Path(records) / name for name in found.parts]
    if plan:
        from results.plan import lines

        there = any(folder.is_dir() for folder in folders)
        for line in lines(found, tables.load(folders) if there else None):
            typer.echo(line)
        return
    frames = loaded(found, study, folders)
    target = Path(out) / found.name
    ready(target)
    _write(frames, target, figures)
    if tensorboard:
        from results.event_files import write_curves

        events = write_curves(frames, target / "tensorboard")
        print(f"{len(events)} event files: tensorboard --logdir {target / 'tensorboard'}")


def _write(frames: "Frames", target: Path, figures: bool) -> None:
    from results import files

    paths, said = files.save(frames, target)
    if figures:
        from results.figures.table import write_all

        paths += write_all(frames, target)
    for line in (said, *frames.warnings, *(f"{name}: not read: {reason}" for name, reason in frames.damaged)):
        if line:
            print(f"warning: {line}", file=sys.stderr)
    failed = frames.trials["status"].value_counts().drop("ok", errors="ignore")
    ends = "".join(f", {count} {status}" for status, count in failed.items())
    print(f"{len(frames.trials)} trainings{ends}; {len(frames.cost)} costs; {len(paths)} files in {target}")


if __name__ == "__main__":
    serve(app)
