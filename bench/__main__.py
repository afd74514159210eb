"""The command line of the bench: list and show studies, run one. Torch is loaded in workers only."""

import dataclasses
import importlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

if __name__ == "__main__":
    import signal

    # Until `serve` there is nothing to tidy up: Ctrl-C ends the process without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

from bench.command import typer
from bench.options import home, numbers, seconds, seed_list

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

StudyName = Annotated[str, typer.Argument(help="A built-in study, or the path of your own .toml file.")]
Seeds = Annotated[str, typer.Option(help="Instead of the study's: a list as 0,1,2, or a count as 3.")]
Depths = Annotated[str, typer.Option(help="Only these of the study's, as 18,34.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Executor = Annotated[str, typer.Option(help="process, inline or ray.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Trials at a time, as the cores allow; 0: one per core, one on a GPU.")
]
Threads = Annotated[int, typer.Option(min=0, help="Of each worker; 0: one. More change results a little.")]
Records = Annotated[str, typer.Option(help="Folder of the records.")]
DataRoot = Annotated[str, typer.Option(help="Where data sets lie.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")]
TimeLimit = Annotated[str, typer.Option(help="Stop cleanly before this is over: 9m, 1.5h.")]
NoLive = Annotated[bool, typer.Option("--no-live", help="Plain lines, even on a terminal.")]
Purpose = Annotated[str, typer.Option(help="Only what is judged (train), what measures cost (cost), or the search.")]


def known_depths(study: Any, asked: list[int] | None) -> None:
    """Refuses depths that the study does not have, which would silently run less than was asked."""
    have = sorted({trial.depth for trial in (*study.trials, *study.untuned)})
    for depth in asked or []:
        if depth not in have:
            raise ValueError(f"--depths: study {study.name!r} has no depth {depth}; it has {', '.join(map(str, have))}")


def asked(study: str, seeds: str, depths: list[int] | None, purpose: str) -> Any:
    """The study as the options narrow it; of a search, the seeds are its own."""
    from bench.plan.study import load
    from bench.plan.trial import FIRST_SEARCH_SEED

    if purpose == "search":
        return load(study, None, depths, seed_list(seeds, FIRST_SEARCH_SEED))
    return load(study, seed_list(seeds), depths)


def known_claims(name: str, study: Any) -> None:
    """Refuses claims that are none, which the report would refuse after all the work. By name: it is no part of us."""
    if name.endswith(".toml") and study.claims:
        from models.spec import unknown

        claims = importlib.import_module("reports.claims").CLAIMS
        for claim in study.claims:
            if claim not in claims:
                raise ValueError(f"study {study.name!r}: {unknown('claim', claim, claims)}")


def chosen(study: Any, only: list[str], purpose: str = "") -> Any:
    """The study with only the trials of these digests, or of this purpose; all but a search where none is asked for."""
    from bench.plan.trial import PURPOSES
    from models.spec import unknown

    if study.untuned and purpose not in ("cost", "search"):
        first = study.untuned[0]
        raise ValueError(
            f"study {study.name!r}: no tuned rate is known for {len(study.untuned)} trials, such as"
            f" {first.architecture.name} of {first.depth} layers: `make tune STUDY=...` searches them"
        )
    if purpose:
        if purpose not in PURPOSES:
            raise ValueError(unknown("purpose", purpose, PURPOSES))
        trials = (*study.trials, *study.search)
        study = dataclasses.replace(study, trials=tuple(t for t in trials if t.purpose == purpose))
        if purpose == "search":
            study = dataclasses.replace(study, varied=tuple(dict.fromkeys((*study.varied, "lr"))))
        if not study.trials:
            more = "; a table [search] declares one" if purpose == "search" else ""
            raise ValueError(f"--purpose {purpose}: study {study.name!r} has no such trial{more}")
    have = {trial.digest: trial for trial in study.trials}
    for digest in only:
        if digest not in have:
            raise ValueError(f"--only: study {study.name!r} has no trial {digest!r} with these seeds and depths")
    return dataclasses.replace(study, trials=tuple(have[digest] for digest in only)) if only else study


@app.command("list")
def list_studies() -> None:
    """The built-in studies."""
    from bench.plan import study

    for name in study.known_studies():
        found = study.load(name)
        typer.echo(f"{name:<20} {len(found.trials):5} trials  {found.title}")


@app.command()
def default(
    device: Device = "auto",
    data_root: DataRoot = "data",
) -> None:
    """The study that `make ablation` runs when none is named; why is said on stderr."""
    from bench.plan.study import default_study

    name, reason = default_study(device, home(data_root))
    typer.echo(reason, err=True)
    typer.echo(name)


@app.command()
def show(
    study: StudyName,
    seeds: Seeds = "",
    depths: Depths = "",
    purpose: Purpose = "",
    workers: Annotated[int, typer.Option(min=0, help="Trials at a time; 0: one per core.")] = 0,
    records: Annotated[str, typer.Option(help="Folder of the records that predictions rest on.")] = "results/records",
) -> None:
    """The trials of a study, and what they will take."""
    from bench.plan.study import load
    from bench.sweep import forecast as prediction
    from bench.sweep.display import Silent

    depth_list = numbers("--depths", depths)
    known_depths(load(study), depth_list)
    whole = asked(study, seeds, depth_list, purpose)
    found = chosen(dataclasses.replace(whole, untuned=()), [], purpose)
    name = Silent(found.varied).name
    expected, sums = prediction.lines(found, Path(records), workers)
    typer.echo(f"{found.title}\n{found.description}".strip())
    for number, (trial, words) in enumerate(zip(found.trials, expected, strict=True), 1):
        typer.echo(f"{number:5}  {name(trial):60} {words}")
    typer.echo("\n".join(sums))
    if whole.search and purpose != "search":
        _, sums = prediction.lines(chosen(whole, [], "search"), Path(records), workers)
        typer.echo(f"its search, {len(whole.search)} trials more (--purpose search): {sums[0]}")
    if whole.untuned:
        typer.echo(f"{len(whole.untuned)} trials more once their rates are known: make tune STUDY={study}")


@app.command()
def summary(
    architecture: str,
    depth: Annotated[int, typer.Option(help="Weighted layers.")],
    input: Annotated[str, typer.Option(help="Channels x height x width of an image.")] = "1x8x8",
    width: Annotated[int, typer.Option(help="Channels of the first stage; 0 takes the layout's own.")] = 0,
    layout: str = "four-stage",
    classes: int = 10,
) -> None:
    """A network layer by layer: shapes, parameters, FLOPs."""
    from bench.cost.summary import table

    typer.echo(table(architecture, depth, input=input, width=width, layout=layout, classes=classes))


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
    gpus_per_trial: Annotated[float, typer.Option(min=0.01, help="What Ray reserves; 0.25: four share a GPU.")] = 1.0,
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

    if not records.strip():
        raise ValueError("--records must name a folder")
    depth_list = numbers("--depths", depths)
    whole = load(study)
    known_claims(study, whole)
    known_depths(whole, depth_list)
    found = asked(study, seeds, depth_list, purpose)
    if rehearse:
        # Never among real records.
        whole = found = rehearsed(found)
        records = str(Path(records).parent / "rehearsal")
    found = chosen(found, only or [], purpose)
    options = sweep.Options(
        records=Path(records),
        machine=Machine(
            device=device,
            threads=threads,
            data_root=str(home(data_root)),
            download=download,
            rehearsal=rehearse,
            checkpoint_after_s=seconds("--checkpoint-after", checkpoint_after),
        ),
        executor=executor,
        workers=workers,
        time_limit_s=seconds("--time-limit", time_limit),
        trial_time_limit_s=seconds("--trial-time-limit", trial_time_limit),
        gpus_per_trial=gpus_per_trial,
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
    no_live: NoLive = False,
) -> None:
    """Searches each net's own learning rate, and writes them beside the study, which reads them as lr = "tuned"."""
    from bench.plan import tuned
    from bench.plan.machine import Machine
    from bench.plan.study import STUDIES, load
    from bench.plan.trial import cell
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
    display.say(f"search: {len(found.trials)} trials of {nets} nets, {sums[0]}; rates beyond the grid come on top")
    machine = Machine(device=device, threads=threads, data_root=str(home(data_root)), download=download)
    options = sweep.Options(
        records=Path(records),
        machine=machine,
        executor=executor,
        workers=workers,
        time_limit_s=seconds("--time-limit", time_limit),
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


def interpreter() -> str:
    """This Python as one would type it here: another may lack the packages."""
    if shutil.which("python") == sys.executable:
        return "python"
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else sys.executable


def main() -> None:
    """Runs a command; a request that cannot be served is one line on stderr, and exit code 2."""
    from bench.command import serve

    serve(app)


if __name__ == "__main__":
    main()
