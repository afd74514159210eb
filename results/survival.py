"""Designs of residual nets side by side: how soon they learn, how best rates go with depth, what each layer costs.

Frames in, numbers out, of one study. Errors by depth are `Frames.cells`; which design is no worse than which is the
report's business.
"""

import math
from dataclasses import dataclass

import pandas as pd

from models.layouts import LAYOUTS
from results import search
from results.tables import Frames

# Step times are noisy where their quartiles lie further apart than this share of them.
NOISE = 0.10
# A net has begun to learn its training set when its running error over an epoch is at most this.
REACHED = 0.05
MIB = 2**20


@dataclass(frozen=True)
class Design:
    """What a survival table says of one architecture in one layout, its errors apart; NaN where there is no number.

    Attributes:
        architecture, layout: Names.
        label: The architecture's, for people.
        connected: How its layers are connected where they are no convolutions and the label does not say so.
        depth: The depth that `steps` is of: the deepest that every design was tried at.
        steps: Training steps to the end of the first epoch whose running error was at most `REACHED`, the median over
            seeds; infinite where most seeds never got there.
        exponent: Power of depth that its best learning rate goes with.
        rates: How many learning rates the search tried, by depth.
        ms_per_layer: Time of a training step per layer, between the shallowest and the deepest net measured.
        mib_per_layer: Memory kept between forward and backward pass per layer, likewise.
        trials: Digests of its judged trials.
    """

    architecture: str
    layout: str
    label: str
    connected: str
    depth: int
    steps: float
    exponent: float
    rates: tuple[int, ...]
    ms_per_layer: float
    mib_per_layer: float
    trials: frozenset[str]

    @property
    def net(self) -> tuple[str, str]:
        """What tells it from the study's others."""
        return self.architecture, self.layout


NET = ["architecture", "layout"]
# What the label of an architecture does not say, by a layout's stem: of tokens each says so itself.
_CONNECTED = {"dense": ", fully connected"}


# So many residual designs make a study of designs.
LEAST_DESIGNS = 6


def study_of(frames: Frames) -> str:
    """The study with the most designs beside the document's block; empty where none has `LEAST_DESIGNS`."""
    trials = frames.trials[frames.trials["comparable"] & frames.trials["residual"]]
    studies = trials[trials["study"].isin(trials.loc[trials["architecture"] == "resnet", "study"])]
    counts = studies[["study", *NET]].drop_duplicates().groupby("study").size()
    return str(counts.idxmax()) if len(counts) and counts.max() > LEAST_DESIGNS else ""


def cells_of(cells: pd.DataFrame, row: Design) -> pd.DataFrame:
    """A design's rows of `Frames.cells`."""
    return cells[(cells["architecture"] == row.architecture) & (cells["layout"] == row.layout)]


def ranked(rows: list[Design], cells: pd.DataFrame) -> list[Design]:
    """The designs by their mean training error at the deepest common depth, best first, failed nets last."""
    deepest = cells[cells["depth"] == max((row.depth for row in rows), default=0)].set_index(NET)
    worst = deepest["train_error_mean"].where(deepest["n_failed"] == 0, 2.0).to_dict()
    return sorted(rows, key=lambda row: (worst.get(row.net, 3.0), row.net))


def designs(frames: Frames, study: str) -> list[Design]:
    """A row per architecture and layout of the study, by their names; empty where it has no trials."""
    trials = frames.trials[(frames.trials["study"] == study) & frames.trials["comparable"]]
    nets = dict(iter(trials.groupby(NET, sort=True)))
    if not nets:
        return []
    deepest = max(set.intersection(*(set(rows["depth"]) for rows in nets.values())), default=0)
    tried = search.tried(frames)
    arms = {
        (arm[0].architecture, arm[0].recipe[search.RECIPE.index("layout")]): arm
        for arm in search.ladders(search.nets(tried[tried["study"] == study]))
    }
    cost = frames.cost[(frames.cost["study"] == study) & frames.cost["comparable"]]
    found = []
    for (name, layout), rows in nets.items():
        arm = arms.get((name, layout), [])
        own = cost[(cost["architecture"] == name) & (cost["layout"] == layout)]
        found.append(
            Design(
                architecture=name,
                layout=layout,
                label=rows["label"].iloc[0] or name,
                connected=_CONNECTED.get(LAYOUTS[layout].stem, ""),
                depth=deepest,
                steps=_steps(frames.epochs, rows[rows["depth"] == deepest]),
                exponent=search.exponent(arm).value if arm else math.nan,
                rates=tuple(len(net.rates) for net in arm),
                ms_per_layer=_per_layer(own, "step_time_s") * 1000,
                mib_per_layer=_per_layer(own, "saved_activation_bytes") / MIB,
                trials=frozenset(rows["digest"]),
            )
        )
    return found


def _steps(epochs: pd.DataFrame, trials: pd.DataFrame) -> float:
    """The median over these trials of the step by which each reached `REACHED`; infinite for one that never did."""
    if trials.empty:
        return math.nan
    soonest = []
    for digest in trials["digest"]:
        rows = epochs[epochs["digest"] == digest].sort_values("epoch")
        there = (rows["train_error"] <= REACHED).to_numpy()
        soonest.append(float(rows["steps"].to_numpy()[there.argmax()]) if there.any() else math.inf)
    return sorted(soonest)[len(soonest) // 2]


def noise(cost: pd.DataFrame) -> str:
    """How many of these cost trials have noisy step times, in words; empty where none has."""
    noisy = (cost["step_time_high_s"] - cost["step_time_low_s"]) > NOISE * cost["step_time_s"]
    if not noisy.any():
        return ""
    wide = f"{100 * NOISE:.0f} % between quartiles"
    return f"Step times of {noisy.sum()} of {len(cost)} cost trials spread by more than {wide}"


def _per_layer(cost: pd.DataFrame, column: str) -> float:
    """Rise of a cost from the shallowest to the deepest net, per layer; NaN where fewer than two depths have it."""
    known = cost[cost[column].notna()].groupby("depth")[column].median()
    if len(known) < 2:
        return math.nan
    return float((known.iloc[-1] - known.iloc[0]) / (known.index[-1] - known.index[0]))
