"""How the gate tells what it found: in lines, as JSON for other tools, and as a figure. No torch."""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.regressions import picture
from tests.regressions.rounds import Saved
from tests.regressions.rows import CONFIDENCE, Comparison, Row, bounds, series

# What may be missed by turns is told from here on.
WORTH_KNOWING = 0.10
# A file that is called so is in Bencher's own form.
BENCHER = ".bmf.json"


def tell(found: Comparison, base: str, threshold: float, folder: Path) -> int:
    """Prints a comparison, slowest ratio first, draws it, and gives the exit code."""
    print(f"compared with {base}; before, now, their ratio with {CONFIDENCE:.0%} bounds")
    slopes = [row for row in found.rows if len(row.parts) > 1]
    _print_rows(row for row in found.rows if len(row.parts) == 1)
    if slopes:
        print("per layer (least-squares slopes over the depths)")
        _print_rows(slopes)
    slower = {row.name for row in found.slower}
    if unsure := sorted({row.name for row in found.rows if row.high > 1 + WORTH_KNOWING and row.name not in slower}):
        print(f"too noisy to tell whether they are {WORTH_KNOWING:.0%} slower: {', '.join(unsure)}")
    if found.rows:
        path = folder / "comparison.svg"
        path.write_text(picture.svg(found, base, threshold), encoding="utf-8")
        print(f"figure: {path}")
    faults = [*found.faults, *(row.words() for row in found.slower)]
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _print_rows(rows: Iterable[Row]) -> None:
    for row in sorted(rows, key=lambda row: -row.ratio):
        ratio = f"{row.ratio:>6.2f}x [{row.low:.2f}, {row.high:.2f}]"
        print(f"{row.name:<28} {row.measure:<9} {row.before:>9.4g} {row.now:>9.4g} {ratio}  {row.unit}")


# ---- JSON


def values(saved: Saved) -> list[dict[str, Any]]:
    """Entries of one side: medians in units of the calibration before each round, memory in MiB."""
    return [
        _entry(*key, each.unit, statistics.median(each.values), *bounds(each.values), saved.machine)
        for key, each in series(saved.rounds, calibrated=True).items()
    ]


def ratios(rows: Sequence[Row], machine: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    """Entries of a comparison by turns, where the other side is the calibration."""
    return [_entry(row.name, row.measure, f"times {base}", row.ratio, row.low, row.high, machine) for row in rows]


def _entry(
    name: str, measure: str, unit: str, value: float, low: float, high: float, machine: Mapping[str, Any]
) -> dict[str, Any]:
    where = f"{machine['device_name']}, torch {machine['torch']}, Python {machine['python']}"
    return {
        "name": f"{name} ({measure})", "unit": unit, "value": value, "range": f"{low:.4g} to {high:.4g}",
        "extra": f"{CONFIDENCE:.0%} bounds of the median; {where}",
        "benchmark": name, "measure": measure, "low": low, "high": high, "machine": dict(machine),
    }  # fmt: skip


def write(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """As github-action-benchmark's customSmallerIsBetter reads it: it keeps the first five keys of an entry.

    Sources: `extractCustomBenchmarkResult` in its src/extract.ts; for files called `BENCHER`, bencher.dev/docs,
    "Bencher Metric Format (BMF)".

    Raises:
        ValueError: One line: the file cannot be written.
    """
    known = [each for each in entries if each["value"] == each["value"]]  # JSON has no NaN
    content: Any = known
    if path.name.endswith(BENCHER):
        content = {}
        for each in known:
            metric = {"value": each["value"], "lower_value": each["low"], "upper_value": each["high"]}
            content.setdefault(each["benchmark"], {})[each["measure"]] = metric
    try:
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None
