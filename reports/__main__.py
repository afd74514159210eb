"""The command line of the report: one page per study, and its verdicts as a table."""

if __name__ == "__main__":
    from bench import first

    first.begin()

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.asked import folder
from bench.command import interpreter, patience, serve, typer
from bench.options import Out, Records, StudyName
from bench.plan.words import counted
from reports.sources import gather, studied
from results.command import ready, tables_meanwhile, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.page.context import Source

PUBLISHED_RECORDS, PUBLISHED_PAGES = Path("results/published"), Path("reports/published")

FOUND = Path("docs/what-was-found.md")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command(help=__doc__)
def report(
    study: StudyName = "",
    records: Records = "results/records",
    against: Annotated[
        str,
        typer.Option(
            callback=folder("--against", optional=True),
            help="Another folder of records of STUDY: compare the two, and judge each by itself.",
        ),
    ] = "",
    html: Annotated[
        str, typer.Option(callback=folder("--html"), help="Folder that the page is written to.")
    ] = "reports/html",
    out: Out = "results/out",
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON, and write nothing.")] = False,
    tables: Annotated[
        bool, typer.Option("--tables", help="Make tables and figures too, at the same time: `python -m results STUDY`.")
    ] = False,
    next_steps: Annotated[bool, typer.Option("--next", help="End with a link and with what to type next.")] = False,
    started: Annotated[float, typer.Option(help="When the whole work began, in seconds since 1970.", hidden=True)] = 0,
    published: Annotated[bool, typer.Option("--published", help="Rebuild every page of results/published.")] = False,
    seeds_wanted: Annotated[
        bool,
        typer.Option("--seeds-wanted", help="Only print the options of `bench run` for more seeds of what is open."),
    ] = False,
) -> None:
    """Writes HTML/STUDY.html, and OUT/STUDY/verdicts.json and .csv; prints the verdicts."""
    if against:
        others = {"--published": published, "--seeds-wanted": seeds_wanted, "--next": next_steps, "--tables": tables}
        for name, given in others.items():
            if given:
                raise ValueError(f"--against compares two folders of records; it does not go with {name}")
        if not study:
            raise ValueError("name a study: python -m reports STUDY --records A --against B")
        from reports.against import compare

        compare(study, records, against, Path(html), Path(out), as_json)
        return
    asked = {"--json": as_json, "--seeds-wanted": seeds_wanted, "--published": published}
    asked["a study"] = bool(published and study)
    if len(too_many := [name for name, given in asked.items() if given]) > 1:
        raise ValueError(f"{' and '.join(too_many)} do not go together: each is a task of its own")
    if tables and too_many:
        raise ValueError(f"--tables goes with the page of a study; it does not go with {too_many[0]}")
    if published:
        publish()
        return
    if not study:
        raise ValueError("name a study, or say --published")
    if as_json:
        from reports.page import data

        print(data.as_json(gather(study, Path(records))))
        return
    if seeds_wanted:
        from reports.wanted import options, wanted

        trials, why = wanted(gather(study, Path(records)))
        print("\n".join(why), file=sys.stderr)
        print(options(trials))
        return
    with tables_meanwhile(study, records, out) if tables else nullcontext():
        target, verdicts = paged(study, Path(records), Path(html), Path(out))
    print_verdicts(verdicts)
    print(f"report: {target}")
    if next_steps:
        for line in closing(study, target, started):
            print(line)


def publish() -> None:
    """Every published page, the table of all verdicts and README's picture, from the published records."""
    pages = published_pages()
    if not pages:
        raise ValueError(f"nothing is published in {PUBLISHED_RECORDS} here: call it in the project's folder")
    patience("drawing every page: a minute each ...")
    made = []
    for name, machine, target in pages:
        made.append((gather(name, PUBLISHED_RECORDS, machine), target.name))
        write_page(made[-1][0], target)
        print(f"report: {target}")
    write_table(made)
    write_picture(made)


def paged(study: str, records: Path, html: Path, out: Path) -> "tuple[Path, list[str]]":
    """The page of a study, made where anything changed since it was made last, and its `verdict_lines`."""
    from results.made import Made, fingerprint

    found, recipe = studied(study)
    target = html / f"{found.name}.html"
    stamp = target.with_name(f".{found.name}.made.json")
    folders = [records / name for name in found.parts]
    python = interpreter()
    before = Made(stamp, fingerprint(found, recipe, folders, study, out, width(least=20), python))
    said = before.said()
    if said is None:
        patience("reading the records, judging them, drawing the page: up to a minute ...")
        source = dataclasses.replace(gather(study, records), python=python)
        # Only now: what misses is told by what `gather` loads first.
        from reports.page import data

        write_page(source, target)
        said = [*verdict_lines(source), *_more_seeds(source, study)]
        before.remember([target, *data.save(source, out / found.name)], said)
    return target, said


def _more_seeds(source: "Source", study: str) -> list[str]:
    """What to type where more seeds may decide an open verdict; nothing where they cannot."""
    import shlex

    from reports.wanted import wanted

    trials, _ = wanted(source)
    if not trials:
        return []
    return [
        f"\t{counted(len(trials), 'more training')} may decide what is open for want of seeds:",
        f"\t  make ablation STUDY={shlex.quote(study)} SEEDS=auto",
    ]


def closing(study: str, target: Path, started: float) -> list[str]:
    """How `make ablation` ends: time taken, the page as a link, and what to type next."""
    import shlex
    import time

    lines = []
    if started:
        taken = max(0, round(time.time() - started))
        lines.append(f"took {taken // 60} min {taken % 60} s" if taken >= 60 else f"took {taken} s")
    study = shlex.quote(study)
    return [
        *lines,
        f"open {target.resolve().as_uri()}",
        f"next: make show STUDY={study}    its networks, and what they would take",
        f"      make report STUDY={study}  this page again, without running anything",
        "      make list                the other studies",
    ]


def write_page(source: "Source", target: Path) -> None:
    """Writes a page, whole or not at all; the old one stays until the new one is made."""
    from bench.store.record import write
    from reports.page import render

    ready(target.parent)
    if target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder")
    page = render.page(source)
    try:
        write(target, page.encode())
    except OSError as error:
        raise ValueError(f"cannot write {target}: {error.strerror}") from None


def write_table(published: "Sequence[tuple[Source, str]]") -> None:
    """Renews the table of what was found, from everything that is published."""
    from bench.store.record import write
    from reports.found import inserted, table

    write(FOUND, inserted(FOUND.read_text("utf-8"), table(published)).encode())


def write_picture(published: "Sequence[tuple[Source, str]]") -> None:
    """Renews the README's picture, from what is published."""
    from bench.store.record import write
    from reports.page.picture import picture

    write(PUBLISHED_PAGES / "ladder.png", picture(published))


def published_pages() -> list[tuple[str, str, Path]]:
    """Study, machine and page of everything that is published whole: results/published/STUDY/MACHINE/.

    Not of a study of which only the search for its learning rates is there: nothing can be judged yet.
    """
    from bench.plan import study as studies
    from bench.store import record

    def judgeable(folder: Path) -> bool:
        return any(record.read(file).trial.purpose != "search" for file in sorted(folder.glob("*.json")))

    pages = []
    for name in studies.known_studies():
        parts = studies.load(name).parts
        machines = [{f.name for f in (PUBLISHED_RECORDS / part).glob("*") if judgeable(f)} for part in parts]
        whole = sorted(set.intersection(*machines))
        for machine in whole:
            page = f"{name}.html" if len(whole) == 1 else f"{name}-{machine}.html"
            pages.append((name, machine, PUBLISHED_PAGES / page))
    return pages


def verdict_lines(source: "Source") -> list[str]:
    """The verdicts, three lines a finding at 80 columns: its number first, the beginning of why below, no word broken.

    Each line begins with its colour and a tab.
    """
    import re
    import textwrap

    from reports.page import first, verdicts
    from reports.page.inline import visible

    wide = width(least=20)
    colors = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}
    said = []
    names = verdicts.labels(source.frames)
    judged, more = verdicts.judged_here(source.study, source.findings), 0
    for claim, findings in judged:
        told = first.told(findings, names)
        more += len(findings) - len(told)
        for finding in told:
            view = verdicts.finding_view(finding, names, source.study.name)
            about = f"{claim.id}, {first.called(finding.subject, names)}"
            head = f"{view.symbol} {view.verdict}  {about}{': ' if view.effect else ''}{view.effect}"
            lines = textwrap.wrap(visible(head), wide, subsequent_indent="  ", break_on_hyphens=False)
            said += [f"{colors[view.verdict]}\t{line}" for line in lines]
            reasons = visible(" ".join(filter(None, (view.reason, view.beside))))
            # Two lines of it, without the bounds, which the first line has: the page has it whole.
            reasons = re.sub(r" \([^()]* points\)", "", reasons)
            why = textwrap.wrap(reasons, wide - 2, break_on_hyphens=False, max_lines=2, placeholder=" ...")
            said += [f"\t  {line}" for line in why]
    if not judged:
        said.append("\tNo claim can be judged from these records.")
    elif more:
        said.append(f"\t{more} more findings, at other settings and on other measures, are on the page.")
    return said


def print_verdicts(lines: "Sequence[str]") -> None:
    """Prints `verdict_lines`."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    for line in lines:
        color, _, words = line.partition("\t")
        console.print(Text(words, style=color))


if __name__ == "__main__":
    serve(app)
