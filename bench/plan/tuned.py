"""`lr = "tuned"`: each net's own learning rate, out of the file of rates beside its study. No torch.

`make tune` searches and writes NAME.rates.toml beside NAME.toml; the study reads it. So the rates can be read,
committed and published, and a study is the same on every machine. A net is known by its whole recipe but the rate:
one whose steps, batch or block changed has no rate any more, and is searched again.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from bench.plan.trial import Trial, cell

TUNED = "tuned"
# What a cost trial of a tuned net steps at: its cost does not depend on it, and few nets diverge in a dozen steps.
COST_LR = 0.01


@dataclass(frozen=True)
class Rate:
    """What the search found for a net.

    Attributes:
        net: See `net_of`.
        architecture, depth: For people.
        lr: Its best rate.
        state: As `rates.Best` says it.
        tried: The rates that it was chosen from, rising.
        reads: Of a user's own block, the digest of the files and variables that it read in the search, empty where it
            read none; None in older files, and for the suite's own nets.
    """

    net: str
    architecture: str
    depth: int
    lr: float
    state: str
    tried: tuple[float, ...]
    reads: str | None = None


@dataclass(frozen=True)
class Rates:
    """A file of rates.

    Attributes:
        search: Digest of the records of the search.
        found: A row a net.
    """

    search: str = ""
    found: tuple[Rate, ...] = field(default=())


class Told(TypedDict, total=False):
    """What a record says of the search that its rate is from.

    digest: of the search's records. state, tried: what came of it, as in `Rate`; only where the rate is the net's own.
    """

    digest: str
    state: str
    tried: list[float]


def net_of(trial: Trial) -> str:
    """Eight hex digits that name a net and its recipe, whatever its rate, seed and study."""
    return replace(cell(trial), study="").digest


def told(trial: Trial, rates: Rates) -> Told:
    """What a trial's record says of the search."""
    rate = next((rate for rate in rates.found if rate.net == net_of(trial)), None)
    if rate and trial.lr_from == "search":
        return {"digest": rates.search, "state": rate.state, "tried": list(rate.tried)}
    return {"digest": rates.search}


def beside(study: Path) -> Path:
    """The file of rates of a study's file."""
    return study.with_suffix(".rates.toml")


def lr_from(lr: object) -> str:
    """Where a study's value of lr sends for the rate: "search", "search of ARCHITECTURE", or "" for a rate itself."""
    if not isinstance(lr, str):
        return ""
    head, _, other = lr.partition(":")
    if head != TUNED or lr == f"{TUNED}:":
        raise ValueError(
            f"lr must be a number, 'tuned' or 'tuned:ARCHITECTURE' (at that one's best rates), not {lr!r:.40}"
        )
    return f"search of {other}" if other else "search"


def searched(trials: Iterable[Trial]) -> list[Trial]:
    """The trials whose own rates are to be searched: those that say "tuned", or all where none does."""
    every = [trial for trial in trials if trial.trains]
    return [trial for trial in every if trial.lr_from == "search"] or every


def resolved(trials: Sequence[Trial], rates: Rates) -> tuple[list[Trial], list[Trial]]:
    """Gives each tuned trial its rate.

    Returns:
        The trials whose rates are known, and those whose are not.

    Raises:
        ValueError: One line: "tuned:ARCHITECTURE" names one that the study has not.
    """
    known, unknown = [], []
    found = {rate.net: rate.lr for rate in rates.found}
    rows = {trial.architecture.name: trial.architecture for trial in trials}
    for trial in trials:
        if trial.lr:
            known.append(trial)
            continue
        other = trial.lr_from.partition(" of ")[2]
        if other and other not in rows:
            raise ValueError(f"lr = 'tuned:{other}': the study has no such architecture; it has {', '.join(rows)}")
        net = net_of(replace(trial, architecture=rows[other]) if other else trial)
        if net in found:
            known.append(replace(trial, lr=found[net]))
        else:
            unknown.append(trial)
    return known, unknown


def read(path: Path) -> Rates:
    """The rates of a file; none where there is no file.

    Raises:
        ValueError: One line: it cannot be read, or is no file of rates.
    """
    if not path.exists():
        return Rates()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = tuple(_rate(row) for row in table["net"])
        return Rates(str(table["search"]), rows)
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read the rates in {str(path)!r}: {error}; `make tune` writes them anew") from None


def _rate(row: dict[str, Any]) -> Rate:
    lr = float(row["lr"])
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr is {lr!r}")
    tried = tuple(map(float, row["tried"]))
    reads = str(row["reads"]) if "reads" in row else None
    return Rate(str(row["net"]), str(row["architecture"]), int(row["depth"]), lr, str(row["state"]), tried, reads)


def text(study: str, rates: Rates) -> str:
    """The file of rates, as `read` reads it."""
    lines = [
        f'# Written by `make tune` for study {study}, which reads it where it says lr = "tuned". Not to be edited: tune'
        " again.",
        "# A net is known by its whole recipe but the rate; a recipe that changed is searched anew.",
        f"search = {json.dumps(rates.search)} # SHA-256 over the records of the search",
    ]
    for rate in rates.found:
        lines += ["", "[[net]]", f"net = {json.dumps(rate.net)}", f"architecture = {json.dumps(rate.architecture)}"]
        lines += [f"depth = {rate.depth}", f"lr = {rate.lr!r}", f"state = {json.dumps(rate.state)}"]
        lines += [f"tried = [{', '.join(map(repr, rate.tried))}]"]
        if rate.reads is not None:
            lines += [f"reads = {json.dumps(rate.reads)} # digest of what the block read beside its imports"]
    return "\n".join(lines) + "\n"
