"""Planted truths: every judge on made-up studies whose answer is known, thousands of times each.

`python -m reports.judges.planted` (make planted) prints how often each rule says what, and keeps the table for the
page's appendix. A rule that says "supported" where the truth lies on its threshold more often than its level plus one
point, or that misses a plain effect, fails the command. Truths are in `truths`, drawn by `draws`; the rules are the
very ones that judge the records. No files are read.
"""

if __name__ == "__main__":
    from bench import first

    first.begin()

import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np

from bench.command import serve, typer
from bench.plan.machine import usable_cores
from reports.finding import Verdict
from reports.judges.draws import SEEDS
from reports.judges.truths import TRUTHS, Truth
from results.stats import ALPHA

# The level, and a point for what normal theory misses with bounded errors and few seeds.
MOST_FALSE = ALPHA + 0.01

SAVED = Path(__file__).parent / "planted.json"


class Played(TypedDict):
    """How often a truth's rule says what, what was promised of it, and whether that was kept."""

    claim: str
    truth: str
    draws: int
    supported: float
    refuted: float
    inconclusive: float
    promise: str
    kept: bool


def play(truth: Truth, draws: int, seed: int) -> Played:
    """One truth, many times."""
    rng = np.random.default_rng([2026, seed])
    said = Counter(str(truth.draw(rng).verdict) for _ in range(draws))
    share = {str(v): said[str(v)] / draws for v in Verdict}
    if truth.answer is None:
        promise, kept = f"{truth.false} at most {100 * MOST_FALSE:.0f} %", share[truth.false] <= MOST_FALSE
    else:
        promise, kept = f"{truth.answer} at least {100 * truth.least:.0f} %", share[truth.answer] >= truth.least
    return {
        "claim": truth.claim, "truth": truth.words, "draws": draws, "supported": share["supported"],
        "refuted": share["refuted"], "inconclusive": share["inconclusive"], "promise": promise, "kept": kept,
    }  # fmt: skip


def _numbered(draws: int, number: int) -> Played:
    return play(TRUTHS[number], draws, number)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Runs every judge on made-up studies of known answer.")
def planted(
    draws: Annotated[int, typer.Option(min=1, help="Made-up studies per truth.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Where the table is kept.")] = SAVED,
) -> None:
    """Prints a line per truth; exit code 1 when a promise is not kept."""
    from bench.store.record import write

    rows = []
    print(f"{'claim':18} {'supported':>9} {'refuted':>9} {'inconcl.':>9}  truth ({SEEDS} seeds, {draws} draws)")
    # Every truth draws from its own seed: the table is the same for any number of processes.
    with ProcessPoolExecutor(usable_cores()) as pool:
        for row in pool.map(partial(_numbered, draws), range(len(TRUTHS))):
            said = row["supported"], row["refuted"], row["inconclusive"]
            shares = "".join(f"{100 * share:8.1f} %"[:10].rjust(10) for share in said)
            broken = "" if row["kept"] else "  PROMISE BROKEN"
            print(f"{row['claim']:18}{shares}  {row['truth']}: {row['promise']}{broken}", flush=True)
            rows.append(row)
    write(out, (json.dumps({"seeds": SEEDS, "rows": rows}, indent=1, ensure_ascii=False) + "\n").encode())
    if not all(row["kept"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    serve(app)
