"""The command line of the report: one page per study, and its verdicts as a table."""

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
    from reports.page.context import Source

PUBLISHED_RECORDS, PUBLISHED_PAGES = Path("results/published"), Path("reports/published")

# Five columns need so many characters.
LEAST_WIDTH = 100

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command(help=__doc__)
def report(
    study: Annotated[str, typer.Argument(help="A built-in study, or the path of your own .toml file.")] = "",
    records: Annotated[str, typer.Option(help="Folder of the records.")] = "results/records",
    html: Annotated[str, typer.Option(help="Folder that the page is written to.")] = "reports/html",
    published: Annotated[bool, typer.Option("--published", help="Rebuild every page of results/published.")] = False,
) -> None:
    """Writes HTML/STUDY.html, whole or not at all, and prints the verdicts."""
    if published:
        pages = published_pages()
        if not pages:
            raise ValueError(f"nothing is published in {PUBLISHED_RECORDS} here: call it in the project's folder")
        for name, machine, target in pages:
            write_page(gather(name, PUBLISHED_RECORDS, machine), target)
            print(f"report: {target}")
        return
    if not study:
        raise ValueError("name a study, or say --published")
    source = gather(study, Path(records))
    target = Path(html) / f"{source.study.name}.html"
    write_page(source, target)
    print_verdicts(source)
    print(f"report: {target}")


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


def published_pages() -> list[tuple[str, str, Path]]:
    """Study, machine and page of everything that is published whole: results/published/STUDY/MACHINE/."""
    from bench.plan import study as studies

    pages = []
    for name in studies.known_studies():
        parts = studies.load(name).parts
        machines = [{f.name for f in (PUBLISHED_RECORDS / part).glob("*") if f.is_dir()} for part in parts]
        whole = sorted(set.intersection(*machines))
        for machine in whole:
            page = f"{name}.html" if len(whole) == 1 else f"{name}-{machine}.html"
            pages.append((name, machine, PUBLISHED_PAGES / page))
    return pages


def gather(study: str, records: Path, machine: str = "") -> "Source":
    """Study, frames and findings.

    Args:
        study: A built-in name or a path that ends in ".toml".
        records: Folder that holds a folder of records per study.
        machine: Folder in each of those, as published records have it.

    Raises:
        ValueError: One line: unknown study, a claim that is none, or no such folder of records.
    """
    from bench.plan import study as studies
    from models.spec import unknown
    from reports.claims import CLAIMS, judge
    from reports.page.context import Source

    found = studies.load(study)
    for claim in found.claims:
        if claim not in CLAIMS:
            raise ValueError(f"study {found.name!r}: {unknown('claim', claim, CLAIMS)}")
    path = Path(study) if study.endswith(".toml") else studies.STUDIES / f"{study}.toml"
    frames = loaded(found, study, [records / name / machine for name in found.parts])
    return Source(found, study, path.read_text(encoding="utf-8-sig"), frames, judge(frames))


def print_verdicts(source: "Source") -> None:
    """The verdicts as a table: each claim's headline measure; without a terminal, plain text of a fixed width.

    On a narrow terminal one below the other, since a table would cut words off.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from reports.page import verdicts
    from reports.page.inline import visible
    from reports.page.words import sentence

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)
    wide = console.width >= LEAST_WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("verdict", "claim", "about", "effect", "why"):
        table.add_column(head, overflow="fold", ratio=4 if head == "why" else None, min_width=12)
    colors = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}
    names = verdicts.labels(source.frames)
    judged, more = verdicts.judged_here(source.study, source.findings), 0
    for claim, findings in judged:
        for finding in findings:
            if finding.measure != findings[0].measure:
                more += 1
                continue
            view = verdicts.finding_view(finding, names, source.study.name)
            about = f"{view['subject']}, {view['measure']}{', ' if view['where'] else ''}{view['where']}"
            why = " ".join(filter(None, (view["reason"], view["beside"], sentence(finding.failures))))
            words = [visible(text) for text in (claim.id, about, view["effect"], why)]
            verdict = Text(f"{view['symbol']} {view['verdict']}", style=colors[view["verdict"]])
            table.add_row(verdict, *map(Text, words))
            if not wide:
                console.print(verdict)
                console.print(Padding(Text("\n".join(filter(None, words))), (0, 0, 0, 2)))
    if table.row_count:
        if wide:
            console.print(table)
        if more:
            print(f"{more} more findings, on other measures, are on the page.")
    else:
        print("No claim can be judged from these records.")


if __name__ == "__main__":
    serve(app)
