"""What the search for learning rates says: of each net its best rate, and what the search took. Frames in, no verdicts.

What is best is `bench.plan.rates`' business, here as where rates are tuned.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.plan import rates as learning
from bench.plan.trial import FIELDS, affecting
from bench.store.parts import Environment
from results import stats

if TYPE_CHECKING:
    from results.tables import Frames

# What a rate is chosen for: net and recipe, as `bench.plan.trial.cell`.
CELL = [name for name in FIELDS if name not in ("lr", "lr_from", "grow_to", *affecting("repeat"))]


class Searched(TypedDict, total=False):
    """What the search for a trial's rate tried and took, as columns of the trials.

    Attributes:
        rates_tried: Learning rates that the search tried.
        best_inside: Whether rates above and below the best were tried and are worse, or none trains the net.
        untrained: Whether no rate trains the net, though it ends at the lowest there is.
        hopeless: Whether the net diverges at every rate.
        search_seconds: Time that the search for the rate took.
    """

    rates_tried: float
    best_inside: bool
    untrained: bool
    hopeless: bool
    search_seconds: float


def recipe_rates(frame: pd.DataFrame) -> pd.Series:
    """Learning rates as far as they are part of the recipe: -1, no rate, where each net has the best of a search."""
    return frame["lr"].where(frame["lr_from"] == "study", -1.0)


def of_record(environment: Environment) -> Searched:
    """What a record says of the search for its net's own rate, whether that search's records are there or not."""
    said = environment.get("search")
    tried = said.get("tried") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(tried, list):
        return {}
    inside, untrained, hopeless = said_by(str(said.get("state")))
    return {"rates_tried": float(len(tried)), "best_inside": inside, "untrained": untrained, "hopeless": hopeless}


def said_by(state: str) -> tuple[bool, bool, bool]:
    """What a state of `rates.Best` says, as the columns best_inside, untrained and hopeless."""
    return state in ("inside", "untrained"), state == "untrained", state == "hopeless"


# What must agree before the rates of two depths are compared.
RECIPE = [name for name in CELL if name not in ("study", "architecture", "depth")]
# What tells the nets of a search apart, and what `said_by` says of each.
_NET = ["study", "architecture", "depth", *RECIPE]
SAID = ["best_inside", "untrained", "hopeless"]


def with_search(trials: pd.DataFrame, search: pd.DataFrame) -> pd.DataFrame:
    """The trials with what the records of the search for their own rates say, where these records are there.

    The time that it took, NaN without records; and what came of it, which then replaces what a trial's record says.
    """
    lots = search.groupby(CELL, sort=False).agg(search_seconds=("seconds", "sum"))
    known = trials[CELL].merge(lots.reset_index(), on=CELL, how="left", validate="many_to_one")
    own = (trials["lr_from"] == "search").to_numpy()
    told = trials.assign(search_seconds=known["search_seconds"].where(own).astype("float64").to_numpy())
    found = {(net.study, net.architecture, net.depth, *net.recipe): said_by(net.best().state) for net in nets(search)}
    searched, columns = (told[names].itertuples(index=False, name=None) for names in (_NET, SAID))
    said = [found.get(net, old) if mine else old for net, old, mine in zip(searched, columns, own, strict=True)]
    return told.assign(**pd.DataFrame(said, told.index, SAID, dtype=bool))


@dataclass(frozen=True)
class Net:
    """One net under one recipe, at every rate that was tried.

    Attributes:
        study, architecture, depth: Which.
        recipe: Values of the fields `RECIPE`.
        seeds, rates: Rising.
        losses, errors: Training loss and error at the end, shape (seeds, rates); infinite where a trial diverged or
            failed, NaN where it has no record.
        resolution: Smallest step that an error can make.
        chance: Error of guessing.
        steps: Training steps as planned.
        trials: Digests.
    """

    study: str
    architecture: str
    depth: int
    recipe: tuple[Any, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    losses: NDArray[np.float64]
    errors: NDArray[np.float64]
    resolution: float = 0.0
    chance: float = 0.9
    steps: int = 0
    trials: tuple[str, ...] = ()

    def best(self, drawn: NDArray[np.int64] | None = None) -> learning.Best:
        """The best rate; of a draw of seeds (their places, with repetition) where one is given."""
        losses, errors = (part if drawn is None else part[drawn] for part in (self.losses, self.errors))
        tried = []
        for k, lr in enumerate(self.rates):
            there = ~np.isnan(losses[:, k])
            if there.any():
                tried.append(learning.Tried(lr, tuple(losses[there, k].tolist()), tuple(errors[there, k].tolist())))
        return learning.best(tried, self.chance)

    @functools.cached_property
    def at_best(self) -> int:
        """Place of the rate tried that has the lowest mean training loss."""
        there = ~np.isnan(self.losses)
        sums = np.where(there, self.losses, 0.0).sum(axis=0)
        return int(np.argmin(np.where(there.any(axis=0), sums / np.maximum(1, there.sum(axis=0)), np.inf)))


def tried(frames: "Frames") -> pd.DataFrame:
    """Trials of several rates: the search's; of a study without one, those of its own grid of rates."""
    grid = frames.trials[(frames.trials["lr_from"] == "study") & ~frames.trials["study"].isin(frames.search["study"])]
    return pd.concat([frames.search, grid])


def nets(tried: pd.DataFrame) -> list[Net]:
    """Every net of which several rates were tried, by study, recipe, architecture and depth.

    Args:
        tried: `Frames.search`, or trials of a study whose rates are a grid.
    """
    found = []
    for _, rows in tried[tried["comparable"]].groupby(["study", *RECIPE, "architecture", "depth"], sort=True):
        if rows["lr"].nunique() < 2:
            continue
        seeds, grid = sorted(rows["seed"].unique()), sorted(rows["lr"].unique())
        losses, errors = (np.full((len(seeds), len(grid)), np.nan) for _ in range(2))
        columns = ("seed", "lr", "status", "train_loss", "train_error")
        for seed, lr, status, loss, error in zip(*(rows[name].tolist() for name in columns), strict=True):
            at = seeds.index(seed), grid.index(lr)
            losses[at] = loss if status == "ok" and np.isfinite(loss) else np.inf
            errors[at] = error if status == "ok" and np.isfinite(error) else np.inf
        first, images, classes = rows.iloc[0], rows["n_train"].max(), rows["classes"].max()
        steps = rows["steps_planned"].max()
        found.append(
            Net(
                study=str(first["study"]),
                architecture=str(first["architecture"]),
                depth=int(first["depth"]),
                recipe=tuple(first[name] for name in RECIPE),
                seeds=tuple(map(int, seeds)),
                rates=tuple(map(float, grid)),
                losses=losses,
                errors=errors,
                resolution=1 / images if images > 0 else 0.0,
                chance=1 - 1 / classes if classes > 1 else 0.9,
                steps=int(steps) if steps > 0 else 0,
                trials=tuple(sorted(rows["digest"])),
            )
        )
    return found


def ladders(found: Iterable[Net]) -> list[list[Net]]:
    """The nets of one study, recipe and architecture, by depth."""
    by_arm: dict[tuple[Any, ...], list[Net]] = {}
    for net in found:
        by_arm.setdefault((net.study, net.recipe, net.architecture), []).append(net)
    return [sorted(arm, key=lambda net: net.depth) for arm in by_arm.values()]


# So many seeds a net, or no interval.
LEAST_SEEDS = 3
RESAMPLES = 999


def exponent(arm: Sequence[Net]) -> stats.Estimate:
    """The power of depth that the best rate goes with, and its two-sided 95 % interval over the search's seeds.

    Only nets whose best rate is inside its grid count. The interval is scipy's percentile bootstrap: each net's seeds
    are drawn with replacement, and its best rate is found anew. It is the search's uncertainty, not that of the law.

    Args:
        arm: Nets of one architecture and recipe, one a depth.
    """
    from scipy.stats import bootstrap

    inside = [net for net in arm if net.best().state == "inside"]
    depths = np.log([net.depth for net in inside])

    def slope(*drawn: NDArray[np.int64]) -> float:
        found = [net.best(seeds).lr for net, seeds in zip(inside, drawn, strict=True)]
        return float(np.polyfit(depths, np.log(found), 1)[0])

    if len(inside) < 3:
        return stats.Estimate(np.nan, np.nan, np.nan, len(inside), "fewer than three depths with a best rate inside")
    places = tuple(np.arange(len(net.seeds)) for net in inside)
    value = slope(*places)
    if min(len(net.seeds) for net in inside) < LEAST_SEEDS:
        return stats.Estimate(value, np.nan, np.nan, len(inside), f"fewer than {LEAST_SEEDS} seeds a net")
    found = bootstrap(
        places, slope, vectorized=False, paired=False, n_resamples=RESAMPLES, method="percentile",
        confidence_level=1 - stats.ALPHA, rng=np.random.default_rng(0),
    )  # fmt: skip
    low, high = found.confidence_interval
    return stats.Estimate(value, float(low), float(high), len(inside))


def told(arm: Sequence[Net], arms: Iterable[Sequence[Net]]) -> str:
    """What sets the recipe of an arm apart from that of the study's others, in words; often empty."""
    others = [other[0].recipe for other in arms if other[0].study == arm[0].study]
    pairs = zip(RECIPE, arm[0].recipe, zip(*others, strict=True), strict=True)
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value, values in pairs
        if len(set(values)) > 1
    )
