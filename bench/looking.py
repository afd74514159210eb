"""Commands that run nothing: the studies, what one will take, a network layer by layer (the only one with torch).

Own file because they share nothing with a sweep but the words in which it is asked for.
"""

import dataclasses
import textwrap
from pathlib import Path
from typing import Annotated

from bench.asked import asked, chosen, home, known_depths, numbers
from bench.command import typer

StudyName = Annotated[str, typer.Argument(help="A built-in study, or the path of your own .toml file.")]
Seeds = Annotated[str, typer.Option(help="Instead of the study's: a list as 0,1,2, or a count as 3.")]
Depths = Annotated[str, typer.Option(help="Only these of the study's, as 18,34.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DataRoot = Annotated[str, typer.Option(help="Where data sets lie.")]
Purpose = Annotated[str, typer.Option(help="Only what is judged (train), what measures cost (cost), or the search.")]

# Of a terminal that nobody has widened.
WIDTH = 80


def list_studies() -> None:
    """The built-in studies."""
    from bench.plan import study

    for name in study.known_studies():
        found = study.load(name)
        head = f"{name:<22}{len(found.trials) + len(found.untuned):5} trials  "
        lines = textwrap.wrap(found.title, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
        typer.echo("\n".join(lines))
    typer.echo("\nwhat one will take: make show STUDY=NAME; to run it: make ablation STUDY=NAME")


def default(device: Device = "auto", data_root: DataRoot = "data") -> None:
    """The study that `make ablation` runs when none is named; why is said on stderr."""
    from bench.plan.study import default_study

    name, reason = default_study(device, home(data_root))
    typer.echo(reason, err=True)
    typer.echo(name)


def show(
    study: StudyName,
    seeds: Seeds = "",
    depths: Depths = "",
    purpose: Purpose = "",
    workers: Annotated[int, typer.Option(min=0, help="Trials at a time; 0: one per core.")] = 0,
    records: Annotated[str, typer.Option(help="Folder of the records that predictions rest on.")] = "results/records",
    trials: Annotated[bool, typer.Option("--trials", help="Every trial, not only their sums.")] = False,
) -> None:
    """A study's networks by depth, and what they will take."""
    from bench.plan.study import load
    from bench.sweep import forecast as prediction
    from bench.sweep.display import Silent

    depth_list = numbers("--depths", depths)
    known_depths(load(study), depth_list)
    whole = asked(study, seeds, depth_list, purpose)
    found = chosen(dataclasses.replace(whole, untuned=()), [], purpose)
    name = Silent(found.varied).name
    expected, sums = prediction.lines(found, Path(records), workers)
    typer.echo("\n".join(textwrap.wrap(found.title, WIDTH) + textwrap.wrap(found.description, WIDTH)))
    if trials:
        for number, (trial, words) in enumerate(zip(found.trials, expected, strict=True), 1):
            typer.echo(f"{number:5}  {name(trial):60} {words}")
    else:
        typer.echo("\n".join(["", *prediction.by_net(found, Path(records)), "", "every trial: --trials"]))
    typer.echo("\n".join(sums))
    if whole.search and purpose != "search":
        _, sums = prediction.lines(chosen(whole, [], "search"), Path(records), workers)
        typer.echo(f"its search, {len(whole.search)} trials more (--purpose search): {sums[0]}")
    if whole.untuned:
        typer.echo(f"{len(whole.untuned)} trials more once their rates are known: make tune STUDY={study}")


def summary(
    architecture: str,
    depth: Annotated[int, typer.Option(help="Weighted layers.")],
    input: Annotated[str, typer.Option(help="Channels x height x width of an image.")] = "",
    width: Annotated[int, typer.Option(help="Channels of the first stage; 0 takes the layout's own.")] = 0,
    layout: Annotated[str, typer.Option(help="four-stage; of the document's network its own.")] = "",
    classes: int = 10,
) -> None:
    """A network layer by layer: shapes, parameters, FLOPs."""
    from bench.cost.summary import table

    # The document's network has one layout, and its author one size of image.
    own = ("imagenet", "1x96x96") if architecture == "document" else ("four-stage", "1x8x8")
    layout, input = layout or own[0], input or own[1]
    typer.echo(table(architecture, depth, input=input, width=width, layout=layout, classes=classes))
