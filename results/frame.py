"""Rows become a frame whose columns have the dtypes they are declared with. Knows of no record."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

# As pandas keeps texts by itself, in Arrow, taking rows out is slow, and judges do little else.
_TEXT = pd.StringDtype("python", na_value=np.nan)
_BLANK = {"str": "", "bool": False, "int64": 0, "float64": np.nan}


def column(values: Iterable[object], kind: str) -> pd.Series:
    """A column of this kind: "str", "bool", "int64" or "float64"."""
    return pd.Series(list(values), dtype=_TEXT if kind == "str" else kind)


def frame(dicts: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Column by column, so that a missing value is an empty text, False, 0 or NaN, and never an object column."""
    return pd.DataFrame(
        {name: column((row.get(name, _BLANK[kind]) for row in dicts), kind) for name, kind in columns.items()}
    )
