"""Two folders of records of one study side by side: `python -m reports STUDY --records A --against B` (make against).

Another machine, another version of PyTorch, another date: each side is judged by itself, and what differs is printed,
written as a page and as a table. Nothing is pooled over the sides.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.plan.study import Study
from reports.page import against, against_data, against_page, first, verdicts
from reports.page.against import Against, VerdictPair
from reports.page.context import Source
from reports.page.inline import visible
from reports.page.words import NOTHING, percent, sentence
from reports.sources import asked, judged
from results import against as pairing
from results.command import loaded, ready, width
from results.files import as_csv, harmless, put

# More rows of a table are not read on a terminal; the page has all.
MOST_ROWS = 24


def compare(study: str, records: str, other: str, html: Path, out: Path, as_json: bool) -> None:
    """Compares two folders of records, prints what differs, and writes page and table.

    Args:
        study: A built-in name or a path that ends in ".toml".
        records, other: A and B: each a folder that holds a folder of records per study, or that study's records.
        html: Folder of the page, STUDY-against.html.
        out: Folder of the table, STUDY/against.csv.
        as_json: Print JSON instead, and write nothing.

    Raises:
        ValueError: One line: unknown study, or a folder that has no records of it.
    """
    found = asked(study)
    sides = [side(found, study, Path(f), option) for f, option in ((records, "--records"), (other, "--against"))]
    for folder in () if as_json else (html, out / found.name):
        ready(folder)
    pair = against.against(sides[0], sides[1], (records, other))
    if as_json:
        print(against_data.as_json(pair))
        return
    written = put(html, [(f"{found.name}-against.html", against_page.page(pair).encode())])
    written += put(out / found.name, [("against.csv", as_csv(harmless(against_data.table(pair))))])
    show(pair)
    for path in written:
        print(f"report: {path}")


def side(found: Study, study: str, folder: Path, option: str) -> Source:
    """A side: the records in a folder, judged.

    Raises:
        ValueError: One line: no such folder, or none of its records is of the study.
    """
    inside = [folder / name for name in found.parts]
    if not folder.is_dir():
        raise ValueError(f"{option} {folder}: no such folder; name one that holds {found.parts[0]}/ or its records")
    # A machine's folder of published records holds them itself.
    folders = [folder] if not any(path.is_dir() for path in inside) and any(folder.glob("*.json")) else inside
    if not any(path.is_dir() for path in folders):
        there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        holds = f"it holds {', '.join(there[:8])}" if there else "it is empty"
        raise ValueError(f"{option} {folder}: no folder {found.parts[0]} and no records in it; {holds}")
    frames = loaded(found, study, folders, option)
    names = [name for table in (frames.trials, frames.cost, frames.search) for name in table["study"].unique()]
    if not set(names) & set(found.parts):
        others = ", ".join(f"{name!r:.80}" for name in sorted(set(names))[:8])
        whose = f"; its records are of {others}" if others else " that can be read"
        raise ValueError(f"{option} {folder}: no record of study {found.name}{whose}")
    return judged(found, study, frames)


# ---- on a terminal ----------------------------------------------------------------------------------------


def show(pair: Against) -> None:
    """What differs in the environment, then verdicts, errors and costs, in lines of at most 80 columns."""
    wide = width(least=40)
    console = Console(width=wide, highlight=False, emoji=False)
    different, equal = against.environment(pair)
    sides = [("A", *pair.folders[:1]), ("B", *pair.folders[1:])]
    _wrapped((f"{name}  {folder}" for name, folder in sides), wide)
    print("\nWhat differs")
    if different:
        _table(console, ("", "A", "B"), [(label, a or NOTHING, b or NOTHING) for label, a, b in different])
    else:
        print("Nothing that the records tell.")
    if equal:
        _wrapped([f"Equal: {', '.join(label for label, _ in equal)}."], wide)
    print()
    _wrapped([f"{against.headline(pair)}. {against.decided(pair)}".strip()], wide)
    if pair.verdicts:
        rows = [_verdict_row(each, pair) for each in pair.verdicts]
        _table(console, ("claim", "network", "A", "B", ""), rows)
        for each in against.flips(pair.verdicts):
            about = f"{each.claim.id}, {against_page.called(each, pair)}"
            why = [
                f"{name}: {sentence(verdicts.named(f.reason, pair.labels))}"
                for name, f in zip("AB", (each.a, each.b), strict=True) if f
            ]  # fmt: skip
            _wrapped([f"{about} {each.state}. {' '.join(why)}"], wide)
    print("\nErrors in %")
    _wrapped([against.trained(pair)], wide)
    if pair.errors:
        _errors(console, pair, wide)
    if pair.costs:
        print("\nCosts")
        _costs(console, pair, wide)
    notes = [against.missing(pair)] + [f"Another recipe, not compared: {line}" for line in against.recipes(pair)]
    notes += against.cautions(pair)
    if any(notes):
        print()
        _wrapped(filter(None, notes), wide)


def _wrapped(lines: Iterable[str], wide: int) -> None:
    for line in lines:
        told = textwrap.wrap(visible(line), wide, subsequent_indent="  ", break_on_hyphens=False)
        print("\n".join(told))


def _table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> None:
    """A table; of many rows the first ones, and how many more there are.

    Args:
        numbers: Whether all but the first column are right-justified, since they hold numbers.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, overflow="fold", justify="right" if numbers and i else "left")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more rows are on the page.")


def _verdict_row(each: VerdictPair, pair: Against) -> tuple[str, ...]:
    said = [
        f"{verdicts.SYMBOLS[finding.verdict]} {number.strip(NOTHING) or finding.verdict}" if finding else NOTHING
        for finding, number in zip((each.a, each.b), each.numbers, strict=True)
    ]
    state = "" if each.state == against.SAME else each.state
    return each.claim.id, against_page.called(each, pair), *said, state


def _errors(console: Console, pair: Against, wide: int) -> None:
    """A row a setting, those that differ first; a star where the interval leaves out zero."""
    lots = [[each for each in pair.errors if each.measure == measure] for measure in pairing.MEASURES]
    words = pairing.setting_words([each.recipe for each in lots[0]])
    rows = []
    for training, test, setting in zip(*lots, words, strict=True):
        cells = []
        for each in (training, test):
            shown = [percent(mean.value) if mean and mean.ended else _none(mean) for mean in (each.a, each.b)]
            apart = against_page.apart_cell(each.apart).partition(" [")[0]
            cells += [*shown, f"{apart}{'*' if each.differs else ''}"]
        net = f"{first.called(training.recipe.architecture, pair.labels)} {training.recipe.depth}"
        differs = training.differs or test.differs
        rows.append((not differs, [f"{net}{f' ({setting})' if setting else ''}", *cells]))
    ordered = [row for _, row in sorted(rows, key=lambda row: row[0])]
    heads = ("network, layers", "training A", "B", "B − A", "test A", "B", "B − A")
    _table(console, heads, ordered, numbers=True)
    if any(not alike for alike, _ in rows):
        _wrapped(["* the 95 % interval over the same seeds leaves out zero, or a seed failed on one side only"], wide)


def _none(mean: pairing.Mean | None) -> str:
    return NOTHING if mean is None else "diverged" if mean.diverged == mean.seeds else "failed"


def _costs(console: Console, pair: Against, wide: int) -> None:
    """A row a network and depth, large ratios first; then the laws."""
    names = against_page.varied(pair.costs)
    lots = sorted(pair.costs, key=lambda each: not pairing.large(each.ratio("step_time_s")))
    rows = []
    for each in lots:
        told = ", ".join(str(each.setting.fields[name]) for name in names)
        row = [f"{each.setting.architecture} {each.setting.depth} ({told})"]
        for measure, factor in (("step_time_s", 1e3), ("peak_memory_bytes", against_page.MEBI)):
            row += [against_page.cost_cell(taken, measure, factor) for taken in (each.a, each.b)]
            row.append(against_page.ratio_cell(each.ratio(measure)))
        rows.append(row)
    called = ", ".join(name.replace("_", " ") for name in names)
    _table(console, (f"network, layers ({called})", "ms A", "B", "B/A", "MiB A", "B", "B/A"), rows, numbers=True)
    if lines := against_page.laws(pair).rows:
        print("\nms per layer, over the depths of both")
        heads = (f"network ({called})", "A", "B", "B/A")
        laws = [(f"{row[0]} ({', '.join(row[1:-4])})", *row[-3:]) for row in lines]
        _table(console, heads, laws, numbers=True)
    _wrapped([against.DATES], wide)
