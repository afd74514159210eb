"""Published points that plots are held against: reads `literature.toml`, nothing else.

How far a published protocol is from a study's own is said in words, so that no overlay passes for a comparison.
"""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from results.frame import frame

FILE = Path(__file__).parent / "literature.toml"

COLUMNS = {
    **{"architecture": "str", "net": "str", "layout": "str", "dataset": "str", "depth": "int64"},
    **{"test_error": "float64", "spread": "float64", "statistic": "str", "read": "str"},
    **{"source": "str", "protocol": "str"},
}
_DEFAULT: Mapping[str, str] = {"layout": "cifar", "dataset": "cifar10", "read": "there", "statistic": "one run"}


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def points() -> pd.DataFrame:
    """A row a published point that somebody has read in the source: `COLUMNS`; errors and spreads as fractions."""
    sources, found = _table()["source"], []
    for point in _table()["points"]:
        row = {**_DEFAULT, **point, "test_error": point["error"] / 100}
        if "spread" in point:
            row["spread"] = point["spread"] / 100
        source = sources[point["source"]]
        row |= {"source": source["name"], "protocol": source["protocol"]}
        if row["read"] != "memory":
            found.append(row)
    return frame(found, COLUMNS)


def distance(trials: pd.DataFrame) -> str:
    """How the trials' protocol differs from the published one (He et al. 2015), in a sentence.

    Args:
        trials: `Frames.trials`, or the part that a plot shows.
    """
    if trials.empty:
        return ""
    apart = []
    datasets = sorted(set(trials["dataset"]))
    if datasets != ["cifar10"]:
        apart.append(f"data {', '.join(datasets)} instead of CIFAR-10")
    steps = trials["steps_planned"].max()
    if steps > 0 and not 50_000 <= steps <= 160_000:
        apart.append(f"{steps:,.0f} steps instead of 64,000".replace(",", " "))
    widths = sorted({int(width) for width in trials["width"]})
    if widths != [16]:
        apart.append(f"width {', '.join(map(str, widths))} instead of 16")
    layouts = sorted(set(trials["layout"]))
    if not set(layouts) <= {"cifar", "cifar-bottleneck"}:
        apart.append(f"layout {', '.join(layouts)} instead of three stages")
    if "preact" in set(trials["architecture"]):
        # The paper does not say which; both forms have the same tensors.
        apart.append("preact's shortcut gets the raw input where the shape changes (fb.resnet.torch: the activated)")
    if set(trials["augment"]) != {"crop-flip"}:
        apart.append("no augmentation")
    return f"Published points differ in protocol: {'; '.join(apart)}." if apart else ""
