"""What the templates take: a form for each thing on a page. Markup reads the fields by name; nothing here computes."""

from dataclasses import dataclass, field

from markupsafe import Markup

from reports.claims import Claim
from results.figures.table import Chart


@dataclass(frozen=True)
class Table:
    """Cells as text; the first of a row is its head."""

    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Published(Table):
    """Published points, and how far their protocol is from ours."""

    apart: str


@dataclass(frozen=True)
class Planted(Table):
    """How often the judges err on made-up studies of so many seeds."""

    seeds: int = 0


@dataclass(frozen=True)
class TrialRow:
    """A trained network: the id that links lead to (empty where another row has it), and how to run it again."""

    id: str
    command: str
    cells: list[str]


@dataclass(frozen=True)
class TrialTable:
    """Every trained network."""

    heads: list[str]
    rows: list[TrialRow]


@dataclass(frozen=True)
class View:
    """One verdict in words and numbers.

    Attributes:
        basis: What it rests on: seeds, steps, failures.
        beside: What does not decide it, but is to be known.
        study: Where it is not the page's own.
        where: The same, and its setting.
        details: What the judge looked at.
        judged: Of two folders side by side: where and on what.
    """

    subject: str
    measure: str
    verdict: str
    symbol: str
    effect: str
    basis: str
    reason: str
    beside: str
    study: str
    where: str
    details: list[Table]
    trials: list[str]
    judged: str = ""


@dataclass(frozen=True)
class Line:
    """What a claim says of a network before it is opened: its verdict, and a number or word, with its interval."""

    view: View
    number: str
    interval: str


@dataclass(frozen=True)
class Entry:
    """A figure: its picture (None: there is nothing to draw), what it draws as CSV, and what it says in words."""

    name: str
    title: str
    svg: Markup | None
    csv: str
    words: str
    wide: bool
    note: str = ""
    chart: Chart | None = None


@dataclass(frozen=True)
class Section:
    """Figures under one title."""

    id: str
    title: str
    figures: list[Entry]


@dataclass(frozen=True)
class Card:
    """A claim: what it says of each network, all its findings, its figures, and what would change it."""

    claim: Claim
    told: list[Line]
    views: list[View]
    figures: list[str]
    small: Markup | None
    judged: Entry | None
    change: tuple[str, str]


@dataclass(frozen=True)
class Elsewhere:
    """A claim that another study decides, and what these records alone say of it."""

    claim: Claim
    study: str
    view: View | None


@dataclass(frozen=True)
class Pill:
    """A cell of the first screen; without a verdict it stands beside one."""

    text: str
    symbol: str = ""
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Head:
    """A network's short label and colour."""

    label: str
    color: str


@dataclass(frozen=True)
class MatrixRow:
    """A claim and what it says of each network; one cell, `all`, where it is about no one of them."""

    claim: Claim
    cells: list[Pill | None] = field(default_factory=list)
    all: Pill | None = None


@dataclass(frozen=True)
class Matrix:
    """The table of the first screen: claims down, networks across."""

    heads: list[Head]
    rows: list[MatrixRow]


@dataclass(frozen=True)
class Pair:
    """A claim and network, and what each of two folders says of it."""

    claim: Claim
    subject: str
    state: str
    differs: bool
    sides: list[View | None]


@dataclass(frozen=True)
class ErrorCell:
    """A design's error at a depth, or what became of it; `lost`: a seed has no number."""

    text: str
    lost: bool = False


@dataclass(frozen=True)
class DesignRow:
    """A design; `instead`: what stands in the place of a verdict where there is none."""

    label: str
    errors: list[ErrorCell]
    verdict: Pill | None
    instead: str
    steps: str
    exponent: str
    rates: str
    ms: str
    mib: str


@dataclass(frozen=True)
class Survival:
    """Designs side by side; `at`: the depth that the steps to an error of `reached` are of; `learning`: a note.

    `key`: what each verdict is called here; `against`: what each is held against, where that is not plain.
    """

    rows: list[DesignRow] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    claim: Claim | None = None
    at: int = 0
    reached: float = 0.0
    learning: str = ""
    key: list[Pill] = field(default_factory=list)
    against: str = ""
