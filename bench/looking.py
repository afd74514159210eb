"""Commands that run nothing: the studies, what one will take, a network layer by layer (the only one with torch).

Own file because they share nothing with a sweep but the words in which it is asked for.
"""

import dataclasses
import textwrap
from pathlib import Path
from typing import Annotated

from bench.asked import asked, chosen, known_depths, numbers
from bench.command import patience, typer
from bench.options import DataRoot, Depths, Device, Purpose, Records, Seeds, StudyName
from bench.plan.words import counted

# Of a terminal that nobody has widened.
WIDTH = 80


def list_studies() -> None:
    """The built-in studies, and how long each takes on this machine's cores by a rule of thumb."""
    from bench.plan import study
    from bench.plan.machine import usable_cores
    from bench.sweep import forecast

    cores = usable_cores()
    for name in study.known_studies():
        found = study.load(name)
        trials = (*found.trials, *found.untuned)
        each = forecast.predict(dataclasses.replace(found, trials=trials), [])
        seconds = sum(one.seconds / (cores if one.trial.trains else 1) for one in each)
        head = f"{name:<21}{len(trials):4} trials {_roughly(seconds):>13}  "
        lines = textwrap.wrap(found.title, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
        typer.echo("\n".join(lines))
    typer.echo(f"\ntimes: a rule of thumb for {counted(cores, 'core')} of a CPU; what takes days there is for a GPU")
    typer.echo("what one will take: make show STUDY=NAME; to run it: make ablation STUDY=NAME")


def _roughly(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def default(device: Device = "auto", data_root: DataRoot = "data") -> None:
    """The study that `make ablation` runs when none is named; why is said on stderr."""
    from bench.plan.study import default_study

    name, reason = default_study(device, Path(data_root))
    typer.echo(reason, err=True)
    typer.echo(name)


def show(
    study: StudyName,
    seeds: Seeds = "",
    depths: Depths = "",
    purpose: Purpose = "",
    workers: Annotated[int, typer.Option(min=0, help="Trials at a time; 0: one per core.")] = 0,
    records: Records = "results/records",
    trials: Annotated[bool, typer.Option("--trials", help="Every trial, not only their sums.")] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Only each trial's digest, which `run --only` takes, and its name.")
    ] = False,
) -> None:
    """A study's networks by depth, and what they will take."""
    from bench.plan.study import load
    from bench.sweep import forecast as prediction
    from bench.sweep.display import Display

    depth_list = numbers("--depths", depths)
    known_depths(load(study), depth_list)
    whole = asked(study, seeds, depth_list, purpose)
    found = chosen(dataclasses.replace(whole, untuned=()), [], purpose)
    name = Display(found.varied).name
    if digests:
        for trial in found.trials:
            typer.echo(f"{trial.digest}  {name(trial)}")
        return
    expected, sums = prediction.lines(found, Path(records), workers)
    typer.echo("\n".join(textwrap.wrap(found.title, WIDTH) + textwrap.wrap(found.description, WIDTH)))
    if not found.trials:
        sums = []  # until their rates are known
    elif trials:
        for number, (trial, words) in enumerate(zip(found.trials, expected, strict=True), 1):
            typer.echo(f"{number:5}  {name(trial):60} {words}")
    else:
        both = ", cost trials among them" if len({trial.trains for trial in found.trials}) > 1 else ""
        nets = prediction.by_net(found, Path(records))
        typer.echo("\n".join(["", *nets, "", f"trials x time of one{both}; every trial: --trials"]))
    _say(*sums)
    if whole.search and purpose != "search":
        _, sums = prediction.lines(chosen(whole, [], "search"), Path(records), workers)
        _say(f"its search, {counted(len(whole.search), 'trial')} more (--purpose search): {sums[0]}")
    if whole.untuned:
        _say(f"{counted(len(whole.untuned), 'trial')} more once their rates are known:")
        typer.echo(f"  make tune STUDY={study}")


def _say(*lines: str) -> None:
    for line in lines:
        typer.echo(textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False))


def summary(
    architecture: str,
    depth: Annotated[int, typer.Option(help="Weighted layers.")],
    input: Annotated[str, typer.Option(help="Channels x height x width of an image.")] = "",
    width: Annotated[int, typer.Option(help="Channels of the first stage; 0 takes the layout's own.")] = 0,
    layout: Annotated[str, typer.Option(help="Else the one that the architecture is from.")] = "",
    classes: int = 10,
) -> None:
    """A network layer by layer: shapes, parameters, FLOPs."""
    patience("loading PyTorch ...")
    from bench.cost.summary import table
    from models.layouts import FROM

    layout = layout or FROM.get(architecture, "four-stage")
    input = input or ("1x96x96" if architecture == "document" else "1x8x8")  # its author's size of image
    said = table(architecture, depth, input=input, width=width, layout=layout, classes=classes)
    rows, _, notes = said.rpartition("\n\n")
    typer.echo(f"{rows}\n")
    _say(*notes.split("\n"))


def schema() -> None:
    """The JSON Schema of a record, for tools that read records without this suite."""
    import json

    from bench.store import schema as form

    typer.echo(json.dumps(form.schema(), indent=1))
