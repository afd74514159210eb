"""The command line of the bench: list and show studies, run one. Torch is loaded in workers only."""

if __name__ == "__main__":
    from bench import first

    first.begin()

import platform
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from bench import looking
from bench.asked import asked, chosen, known_claims, known_depths, numbers, seconds
from bench.command import interpreter, typer, version
from bench.options import DataRoot, Depths, Device, Download, Purpose, Records, Seeds, StudyName

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Executor = Annotated[str, typer.Option(help="process, inline or ray.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Trials at a time, as the cores allow; 0: one per core, one on a GPU.")
]
Threads = Annotated[int, typer.Option(min=0, help="Of each worker; 0: one. More change results a little.")]
TimeLimit = Annotated[str, typer.Option(help="Stop cleanly before this is over: 9m, 1.5h.")]
SeedsAtOnce = Annotated[int, typer.Option(help="Of one net, in one process on a GPU; 0: as the study says.")]
NoLive = Annotated[bool, typer.Option("--no-live", help="Plain lines, even on a terminal.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"depth ablation {version()}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback(help=__doc__)
def whole(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before any command."""


app.command("list")(looking.list_studies)
app.command("default")(looking.default)
app.command("show")(looking.show)
app.command("summary")(looking.summary)
app.command("schema")(looking.schema)


@app.command()
def run(
    study: StudyName,
    device: Device = "auto",
    seeds: Seeds = "",
    depths: Depths = "",
    only: Annotated[list[str] | None, typer.Option(help="Only this trial: the last part of its record's name.")] = None,
    purpose: Purpose = "",
    executor: Executor = "process",
    workers: Workers = 0,
    threads: Threads = 0,
    records: Records = "results/records",
    data_root: DataRoot = "data",
    download: Download = False,
    time_limit: TimeLimit = "",
    trial_time_limit: Annotated[str, typer.Option(help="End a trial that takes longer: 90s, 9m.")] = "",
    gpus_per_trial: Annotated[
        float, typer.Option(min=0.01, max=1000, help="What Ray reserves; 0.25: four share a GPU.")
    ] = 1.0,
    seeds_at_once: SeedsAtOnce = 0,
    checkpoint_after: Annotated[str, typer.Option(help="Trials that take longer keep epoch checkpoints.")] = "10m",
    inject: Annotated[list[str] | None, typer.Option(help="Rehearse a fault: FAULT@TRIAL:STEP.")] = None,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Tiny nets, one seed: does every trial run?")] = False,
    no_live: NoLive = False,
) -> None:
    """Runs what is not done yet of a study; a record for each trial, the moment it ends."""
    from bench.plan.machine import Machine
    from bench.plan.study import load, rehearsed
    from bench.sweep import display as progress
    from bench.sweep import run as sweep
    from bench.sweep.faults import harness

    depth_list = numbers("--depths", depths)
    whole = load(study)
    if study.endswith(".toml"):
        known_claims(whole)
    known_depths(whole, depth_list)
    found = asked(study, seeds, depth_list, purpose)
    if rehearse:
        # Never among real records.
        whole = found = rehearsed(found)
        records = str(Path(records).parent / "rehearsal")
    found = chosen(found, only or [], purpose)
    if found.untuned and purpose not in ("cost", "search"):
        progress.Plain().say(found.waits)
    options = sweep.Options(
        records=Path(records),
        machine=Machine(
            device=device,
            threads=threads,
            data_root=data_root,
            download=download,
            rehearsal=rehearse,
            checkpoint_after_s=seconds("--checkpoint-after", checkpoint_after),
        ),
        executor=executor,
        workers=workers,
        time_limit_s=seconds("--time-limit", time_limit),
        trial_time_limit_s=seconds("--trial-time-limit", trial_time_limit),
        gpus_per_trial=gpus_per_trial,
        seeds_at_once=seeds_at_once,
        faults=tuple(map(harness().parse, inject)) if inject else (),
    )
    result = sweep.run(found, options, progress.choose(not no_live)(found.varied), whole)
    display = progress.Plain()
    for line in closing(result, options):
        display.say(line)
    raise typer.Exit(result.code)


@app.command()
def tune(
    study: StudyName,
    device: Device = "auto",
    executor: Executor = "process",
    workers: Workers = 0,
    threads: Threads = 0,
    records: Records = "results/records",
    data_root: DataRoot = "data",
    download: Download = False,
    time_limit: TimeLimit = "",
    seeds_at_once: SeedsAtOnce = 0,
    no_live: NoLive = False,
) -> None:
    """Searches each net's own learning rate, and writes them beside the study, which reads them as lr = "tuned"."""
    from bench.plan import tuned
    from bench.plan.machine import Machine
    from bench.plan.study import STUDIES, load
    from bench.plan.trial import cell
    from bench.plan.words import counted
    from bench.store import record
    from bench.sweep import display as progress
    from bench.sweep import forecast as prediction
    from bench.sweep import run as sweep
    from bench.sweep import tune as tuning

    whole = load(study)
    found = chosen(whole, [], "search")
    display = progress.Plain()
    _, sums = prediction.lines(found, Path(records), workers)
    nets = len(set(map(cell, whole.search)))
    what = f"{counted(len(found.trials), 'trial')} of {counted(nets, 'net')}"
    display.say(f"search: {what}, {sums[0]}; rates beyond the grid come on top")
    machine = Machine(device=device, threads=threads, data_root=data_root, download=download)
    options = sweep.Options(
        records=Path(records),
        machine=machine,
        executor=executor,
        workers=workers,
        time_limit_s=seconds("--time-limit", time_limit),
        seeds_at_once=seeds_at_once,
    )
    result, rates = tuning.tune(whole, options, lambda: progress.choose(not no_live)(found.varied), display.say)
    for name, part in rates.items():
        own = study.endswith(".toml") and name == whole.name
        path = tuned.beside(Path(study) if own else STUDIES / f"{name}.toml")
        for line in tuning.lines(part):
            display.say(line)
        try:
            record.write(path, tuned.text(name, part).encode())
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror or error}") from None
        display.say(f"rates: {path}")
    for line in closing(result, options):
        display.say(line)
    raise typer.Exit(result.code)


def closing(result: Any, options: Any) -> list[str]:
    """How a sweep ended, and how to go on."""
    counts = [f"{number} {status}" for status, number in sorted(result.ended.items())]
    before = [f"{result.done} done before"] if result.done else []
    left = [f"{result.left} left"] if result.left else []
    lines = [f"trials: {', '.join([*counts, *before, *left]) or 'none'}; records in {options.records}"]
    if result.reason:
        words = (word for word in sys.argv[1:] if not word.startswith("--inject="))
        # A rehearsed fault is not to happen again.
        again = [word for word in words if word != "--inject" or not next(words, "")]
        lines += [f"stopped: {result.reason}", f"to go on: {shlex.join([interpreter(), '-m', 'bench', *again])}"]
    return lines


def main() -> None:
    """Runs a command; a request that cannot be served is one line on stderr, and exit code 2."""
    from bench.command import serve

    serve(app)


if __name__ == "__main__":
    main()
