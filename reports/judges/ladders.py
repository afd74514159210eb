"""One architecture against depth: what the judges of errors look at, cut out of the trials frame.

Rows become a small array (seeds x depths) with everything a rule may ask for beside it, so that a rule is
a pure function that planted truths can feed as well as records. Nothing is judged here.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.finding import Searched
from reports.protocol import MARGIN, NOT_TRAINED
from results import stats, tables
from results.columns import ARCHITECTURE, SETTING
from results.convergence import CONVERGED, convergence
from results.moderated import Prior, prior
from results.search import SAID, nets, recipe_rates, said_by

# What may differ within a ladder, or is told by another column.
_WITHIN = ("architecture", "depth", *ARCHITECTURE)
RECIPE = [name for name in SETTING if name not in _WITHIN]
# Finer than a step of any training error: equal errors of several seeds are near each other, not without spread.
LEAST_STEP = 1e-4


@dataclass(frozen=True)
class Tried:
    """The learning rates that nets of one depth were tried at.

    Attributes:
        rates: How many.
        inside: Whether rates above and below the best were tried and are worse, or none trains the net.
        untrained: Whether no rate trains the net, down to one so low that none would (see `bench.plan.rates`).
        hopeless: Whether most seeds diverged at each of them, down to one at which the shallowest net surely does not
            train (by the lower bound of its error).
    """

    rates: int = 1
    inside: bool = False
    untrained: bool = False
    hopeless: bool = False


@dataclass(frozen=True)
class Ladder:
    """Errors of one architecture over depths and seeds, under one recipe.

    Attributes:
        subject: The architecture's name.
        depths: Rising.
        seeds: Rising.
        errors: Shape (seeds, depths), fractions in 0..1. A trial that ended without a result (diverged, out of memory,
            timeout, error) holds 1.0, the worst; one without a record is NaN.
        convergence: Of the cell of each depth: "converged", "not converged" or "unstable" (see `results.convergence`).
        diverged: Diverged seeds by depth.
        broken: Seeds by depth that ended neither "ok" nor "diverged".
        images: Test images behind an error; NaN for training errors.
        resolution: Smallest step that the errors can make.
        steps: Training steps as planned.
        lr_from: Where the rates are from (see `Trial`).
        epochs: Passes over the training data that these steps are.
        tried: Learning rates, by depth.
        losses: Mean loss of the seeds that ended, by depth: shown, never judged.
        shorter: The same nets after a half and after a quarter of the steps, as far as the study has them.
        study, setting: Where it is from, and what tells it from the study's other ladders of this subject.
        trials: Digests.
    """

    subject: str
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    errors: NDArray[np.float64]
    convergence: tuple[str, ...]
    diverged: tuple[int, ...]
    broken: tuple[int, ...]
    images: float = float("nan")
    resolution: float = 0.0
    steps: int = 0
    lr_from: str = "study"
    epochs: int = 0
    tried: tuple[Tried, ...] = ()
    losses: tuple[float, ...] = ()
    shorter: tuple["Ladder", ...] = ()
    study: str = ""
    setting: str = ""
    trials: tuple[str, ...] = ()

    @property
    def missing(self) -> list[tuple[int, int]]:
        """(depth, seed) of the trials that have no record, though this depth and this seed have others."""
        where = np.argwhere(np.isnan(self.errors))
        return [(self.depths[j], self.seeds[i]) for i, j in where]

    @property
    def rates(self) -> int:
        """How many learning rates were tried at every depth: the fewest over the depths."""
        return min(tried.rates for tried in self.tried)

    def converged(self, j: int) -> bool:
        """Whether the nets of depth number `j` have."""
        return self.convergence[j] == CONVERGED

    def spread_beside(self, j: int) -> Prior | None:
        """What the differences to the shallowest nets spread like, for depth number `j` to lean on.

        Over depths that are not at the floor, where nothing can spread, and of which no seed failed. Depth `j` leans
        on them only where it is such a one itself.
        """
        return self._common_spread if j in self._spreading else None

    @functools.cached_property
    def _spreading(self) -> tuple[int, ...]:
        means = self.errors.mean(axis=0)
        whole = [means[k] >= MARGIN and not (self.diverged[k] or self.broken[k]) for k in range(len(self.depths))]
        return tuple(k for k in range(1, len(self.depths)) if whole[k]) if len(self.seeds) > 1 else ()

    @functools.cached_property
    def _common_spread(self) -> Prior | None:
        if self.diverged[0] or self.broken[0]:
            return None
        shallowest = self.errors[:, :1]
        variances = stats.variances_apart(self.errors[:, list(self._spreading)] - shallowest, self.resolution)
        if min(variances, default=0.0) <= 0:
            return None
        shared = min(1.0, float(shallowest.var(ddof=1) / np.mean(variances)))
        return prior(variances, len(self.seeds) - 1, shared)


# A search tries at least so many rates, however many they were.
LEAST_SEARCHED = 2

# What `tuned` says of each cell.
_TRIED = {f.name: f.default for f in dataclasses.fields(Tried)}
_LOOKED_AT = [*SETTING, "seed", *tables.CONVERGING, "n_train", "n_test", "steps", "steps_planned", "digest", *_TRIED]


def ladders(trials: pd.DataFrame, measure: str, subjects: Iterable[str] = ()) -> list[Ladder]:
    """Every ladder of the comparable trials, in the order of study, setting and architecture.

    Args:
        trials: `Frames.trials`, or a part of it.
        measure: "train_error" or "test_error".
        subjects: Architectures to keep, in this order within a recipe; empty keeps all.
    """
    if "rates" not in trials:  # no search: see `tuned`
        trials = trials.assign(**_TRIED)
    used = trials.loc[trials["comparable"], [*_LOOKED_AT, measure, _loss(measure)]]
    wanted = list(subjects) or sorted(used["architecture"].unique())
    found = []
    for setting, recipe in recipes(used):
        for subject in wanted:
            rows = recipe[recipe["architecture"] == subject]
            if not rows.empty:
                found.append(ladder(rows, measure, subject, setting))
    return [dataclasses.replace(one, shorter=_shorter(one, found)) for one in found]


def _loss(measure: str) -> str:
    return "test_loss" if measure == "test_error" else "train_loss"


def _shorter(longest: Ladder, ladders: Iterable[Ladder]) -> tuple[Ladder, ...]:
    """The same nets of the same recipe after half and a quarter of the epochs, as far as they are there."""
    parts = {longest.epochs / 2, longest.epochs / 4}
    return tuple(one for one in ladders if one.epochs in parts and _but_for_length(one) == _but_for_length(longest))


def _but_for_length(one: Ladder) -> tuple[str, str, str]:
    parts = [part for part in one.setting.split(", ") if part != f"epochs {one.epochs}"]
    return one.subject, one.study, ", ".join(parts)


def recipes(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of each study, cut by whatever of the recipe it varies: only equal recipes are judged together.

    Args:
        trials: `Frames.trials`, or a part of it; at least `SETTING`.

    Yields:
        What tells a recipe from the study's others, such as "lr 0.05" (empty when the study has one), and its rows; in
        the order of study and setting. Rates that a search chose are no part of it.
    """
    for _, study in trials.assign(lr=recipe_rates(trials)).groupby("study", sort=True):
        varied = [name for name in RECIPE if study[name].nunique() > 1]
        groups = study.groupby(varied, sort=True) if varied else [((), study)]
        for key, rows in groups:
            told = (_text(name, value) for name, value in zip(varied, key, strict=True))
            yield ", ".join(filter(None, told)), rows


def study_of(rows: pd.DataFrame) -> str:
    """Name of the study that these trials, of one recipe, are from."""
    return str(rows["study"].iloc[0])


def steps_of(rows: pd.DataFrame) -> int | None:
    """Training steps as planned, of the longest of these trials; None where that is unknown."""
    planned = rows["steps_planned"].max()
    return int(planned) if planned > 0 else None


class Choice(NamedTuple):
    """The learning rate that was chosen for a cell, out of several.

    `searched`: how many were tried, and the training seconds of the whole search (both NaN where the search's records
    are not there) and of the chosen one. `trials`: digests of the trials at that rate.
    """

    study: str
    architecture: str
    lr_from: str
    depth: int
    trials: frozenset[str]
    searched: Searched


def tuned(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[Choice]]:
    """Keeps, where a study tried several learning rates, the best one of each architecture and depth.

    Best: fewest failures, then the lowest mean training loss over the seeds. Never chosen by an error that is judged.
    A rate that a search chose, on seeds of its own, is the best of several already.

    Returns:
        The rows kept, with the columns of `Tried`; and the choice of each cell that had one.
    """
    cell = [name for name in SETTING if name != "lr"]
    keep: list[pd.DataFrame] = []
    said: list[Tried] = []
    chosen = []
    for _, rows in trials[trials["comparable"]].groupby(cell, sort=True):
        first = rows.iloc[0]
        by_lr = dict(iter(rows.groupby("lr", sort=True))) if rows["lr"].nunique() > 1 else {first["lr"]: rows}
        best = min(by_lr, key=lambda lr: _preference(by_lr[lr]))
        own = first["lr_from"] == "search"
        tried = first["rates_tried"] if own else len(by_lr)
        if own:
            told = Tried(
                int(max(LEAST_SEARCHED, np.nan_to_num(tried))),
                *(bool(first[name]) for name in SAID),
            )
        else:
            state = next((net.best().state for net in nets(rows)), "") if len(by_lr) > 1 else ""
            told = Tried(len(by_lr), *said_by(state)[:2], _hopeless(by_lr, trials))
        keep.append(by_lr[best])
        said += [told] * len(by_lr[best])
        if len(by_lr) == 1 and not own:
            continue
        chosen.append(
            Choice(
                study=str(first["study"]),
                architecture=str(first["architecture"]),
                lr_from=str(first["lr_from"]),
                depth=int(first["depth"]),
                trials=frozenset(by_lr[best]["digest"]),
                searched=Searched(
                    lr=float(best),
                    tried=float(tried),
                    search_seconds=float(first["search_seconds"] if own else rows["train_seconds"].sum()),
                    chosen_seconds=float(by_lr[best]["train_seconds"].sum()),
                ),
            )
        )
    if not chosen:
        return trials[trials["comparable"]].assign(**_TRIED), []
    kept = pd.concat(keep).assign(**{name: [getattr(told, name) for told in said] for name in _TRIED})
    # One recipe again, so that the depths of an arm stand in one ladder; -1 is no learning rate.
    searched = {one.study for one in chosen if one.lr_from == "study"}
    return kept.assign(lr=kept["lr"].where(~kept["study"].isin(searched), -1.0)), chosen


def _hopeless(by_lr: dict[Any, pd.DataFrame], trials: pd.DataFrame) -> bool:
    """See `Tried`. Whether the lowest rate trains anything is told by the shallowest nets of the same recipe at it.

    They must fail for sure, by the lower bound of their mean: a mean near the threshold is on the other side on the
    next processor, whose rounding is another seed. Most of them must have an error: one that diverges, as the net in
    question does, says that the rate is too high, not that it is too low.
    """
    if len(by_lr) < 2 or any(2 * (rows["status"] == "diverged").sum() <= len(rows) for rows in by_lr.values()):
        return False
    own = by_lr[min(by_lr)].iloc[0]
    same = [name for name in SETTING if name != "depth"]
    alike = trials[trials["comparable"] & (trials[same] == own[same]).all(axis=1)]
    shallowest = alike[alike["depth"] == alike["depth"].min()]
    if 2 * (shallowest["status"] == "ok").sum() <= len(shallowest):
        return False
    errors = shallowest["train_error"].where(shallowest["status"] == "ok").fillna(1.0)
    return stats.bounds(errors, resolution=LEAST_STEP).low > NOT_TRAINED


def _preference(rows: pd.DataFrame) -> tuple[int, float]:
    ok = rows.loc[rows["status"] == "ok", "train_loss"]
    return len(rows) - len(ok), float(ok.fillna(np.inf).mean()) if len(ok) else np.inf


def _text(name: str, value: object) -> str:
    if name == "lr_from":
        return f"at the best lr of {other}" if (other := str(value).partition(" of ")[2]) else ""
    if (name, value) == ("lr", -1.0):
        return ""
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def ladder(rows: pd.DataFrame, measure: str, subject: str, setting: str = "") -> Ladder:
    """The ladder of these rows: one subject, at most one row per depth and seed."""
    depths, seeds = sorted(rows["depth"].unique()), sorted(rows["seed"].unique())
    across = {int(depth): j for j, depth in enumerate(depths)}
    down = {int(seed): i for i, seed in enumerate(seeds)}
    errors = np.full((len(seeds), len(depths)), np.nan)
    diverged, broken = [0] * len(depths), [0] * len(depths)
    columns = ("depth", "seed", "status", measure)
    for depth, seed, status, error in zip(*(rows[name].tolist() for name in columns), strict=True):
        j = across[depth]
        # A result without a number cannot be trusted to be good: it ranks worst like a failure.
        errors[down[seed], j] = error if status == "ok" and np.isfinite(error) else 1.0
        diverged[j] += status == "diverged"
        broken[j] += status not in ("ok", "diverged")
    counted = rows["n_test" if measure == "test_error" else "n_train"].max()
    images = float(counted) if counted > 0 else float("nan")
    planned = rows[["steps_planned", "steps"]].max().max()
    first = rows.drop_duplicates("depth")[["depth", *_TRIED]]
    tried = {depth: Tried(*said) for depth, *said in first.itertuples(index=False, name=None)}
    depth_of, told = rows["depth"].to_numpy(), [rows[name].to_numpy() for name in tables.CONVERGING]
    return Ladder(
        subject=subject,
        depths=tuple(map(int, depths)),
        seeds=tuple(map(int, seeds)),
        errors=errors,
        convergence=tuple(convergence(*(column[depth_of == depth] for column in told)) for depth in depths),
        diverged=tuple(diverged),
        broken=tuple(broken),
        images=images if measure == "test_error" else float("nan"),
        resolution=1 / images if images > 0 else 0.0,
        steps=int(planned) if planned > 0 else 0,
        lr_from=str(rows["lr_from"].iloc[0]),
        epochs=int(rows["epochs"].max()),
        tried=tuple(tried[depth] for depth in depths),
        losses=tuple(float(rows.loc[rows["depth"] == depth, _loss(measure)].mean()) for depth in depths),
        study=str(rows["study"].iloc[0]),
        setting=setting,
        trials=tuple(sorted(rows["digest"])),
    )
