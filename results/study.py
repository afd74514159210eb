"""A study in a notebook: its tables, verdicts and figures, as the page has them.

    from results import study
    s = study.read("digits")
    s.verdicts                         # pandas; likewise s.cells, s.trials, s.cost and the other tables of `Frames`
    s.figure("train-error-by-depth")   # a picture

The one module of `results` that knows verdicts: it asks `reports` for them, and nothing in `results` imports it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.plan import study as studies
from bench.plan.checkout import ROOT
from bench.plan.words import counted
from models.spec import unknown
from reports.__main__ import PUBLISHED_RECORDS
from reports.page import data
from reports.sources import gather
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = "results/records"


@dataclass(frozen=True)
class Picture:
    """A figure that Jupyter shows as it is, without settings.

    Attributes:
        title: As the page heads it.
        caption: How to read it.
        figure: matplotlib's.
    """

    title: str
    caption: str
    figure: "Figure"

    def __repr__(self) -> str:
        return f"{self.title}. {self.caption}"

    def _repr_png_(self) -> bytes:
        from results.figures import style

        return style.png(self.figure)

    def _repr_svg_(self) -> str:
        from results.figures import style

        return style.svg(self.figure, ground="white")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Judged(Frames):
    """The tables of one study, with its verdicts and figures.

    Attributes:
        name: The study's.
        folders: Where its records were read.
        verdicts: A row per finding, each claim's headline first: `data.COLUMNS`. Effects are as the claim states them,
            in `unit`.
    """

    name: str
    folders: tuple[Path, ...]
    verdicts: pd.DataFrame

    def __repr__(self) -> str:
        lots = ((len(self.trials), "training"), (len(self.cost), "cost trial"), (len(self.warnings), "warning"))
        told = ", ".join(counted(count, word) for count, word in lots if count)
        return f"study {self.name}: {told or 'no records'}; from {', '.join(map(str, self.folders))}"

    def figure(self, name: str) -> Picture:
        """A figure of the page.

        Args:
            name: A key of `results.figures.table.FIGURES`.

        Raises:
            ValueError: One line: no such figure, or the records hold nothing for it.
        """
        from results.figures.table import FIGURES, caption

        if name not in FIGURES:
            raise ValueError(unknown("figure", name, FIGURES))
        chart = FIGURES[name]
        drawn = chart.draw(self)
        if drawn is None:
            there = f"; study {chart.study!r} fills it" if chart.study not in ("", self.name) else ""
            raise ValueError(f"these records hold nothing for figure {name!r}: it needs {chart.needs}{there}")
        return Picture(chart.title, caption(name, drawn), drawn)


def read(name: str | Path, records: str | Path = RECORDS, machine: str = "") -> Judged:
    """Reads a study's records and judges its claims.

    Args:
        name: A built-in study, or the path of a TOML file.
        records: Folder that holds a folder of records per study; what is not here is looked for in the checkout. Where
            the usual folder has no records of the study, the published ones are read.
        machine: Whose records, where a study has a folder per machine, as published ones have; its only one otherwise.

    Raises:
        ValueError: One line: no such study or machine, or no records.
    """
    parts = studies.load(str(name)).parts
    places = [Path(records), ROOT / records]
    if str(records) == RECORDS:
        places.append(ROOT / PUBLISHED_RECORDS)
    machines: list[str] = []
    for place in places:
        known = _machines([place / part for part in parts])
        machines += filter(None, known)
        if not known or (machine and machine not in known):
            continue
        if not machine and "" not in known and len(known) > 1:
            choices = " or ".join(f"machine={each!r}" for each in known)
            raise ValueError(f"{place} has records of {str(name)!r} from several machines: say {choices}")
        chosen = machine or ("" if "" in known else known[0])
        source = gather(str(name), place, chosen)
        folders = (place / part / chosen for part in parts)
        return Judged(
            **vars(source.frames),
            name=source.study.name,
            folders=tuple(folder for folder in folders if folder.is_dir()),
            verdicts=data.table(source),
        )
    if machine and machines:
        raise ValueError(unknown("machine", machine, dict.fromkeys(machines)))
    raise ValueError(f"no records of {str(name)!r} in {records}: run the study first, make ablation STUDY={name}")


def _machines(folders: list[Path]) -> list[str]:
    """The folders of records inside these, sorted; "" where records lie in one of them itself."""
    found = {""} if any(next(folder.glob("*.json"), None) for folder in folders) else set()
    for folder in folders:
        inside = {file.parent.name for file in folder.glob("*/*.json")}
        found |= inside - {"apart", "checkpoints"}
    return sorted(found)
