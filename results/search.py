"""What the search for learning rates says: of each net its best rate, and what the search took. Frames in, no verdicts.

What is best is `bench.plan.rates`' business, here as where rates are tuned.
"""

import pandas as pd

from bench.plan.trial import FIELDS, affecting

# What a rate is chosen for: net and recipe, as `bench.plan.trial.cell`.
CELL = [name for name in FIELDS if name not in ("lr", "lr_from", "grow_to", *affecting("repeat"))]

# What the search for a trial's rate tried and took, as columns of the trials.
SEARCHED = {"rates_tried": "float64", "search_seconds": "float64"}


def recipe_rates(frame: pd.DataFrame) -> pd.Series:
    """Learning rates as far as they are part of the recipe: -1, no rate, where each net has the best of a search."""
    return frame["lr"].where(frame["lr_from"] == "study", -1.0)


def with_search(trials: pd.DataFrame, search: pd.DataFrame) -> pd.DataFrame:
    """The trials with the columns `SEARCHED`: NaN where the rate is not the net's own best, or the search not there."""
    lots = search.groupby(CELL, sort=False).agg(rates_tried=("lr", "nunique"), search_seconds=("seconds", "sum"))
    known = trials[CELL].merge(lots.reset_index(), on=CELL, how="left", validate="many_to_one")
    own = (trials["lr_from"] == "search").to_numpy()
    return trials.assign(**{name: known[name].where(own).astype(kind).to_numpy() for name, kind in SEARCHED.items()})
