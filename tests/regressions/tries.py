"""How often does the gate find what is slower, and how often does it raise an alarm at equal code? No torch.

    python -m tests.regressions.tries --only "step 18 plain" --factor 1.10 --tries 10 --out FILE
    python -m tests.regressions.tries --only 18 --tries 0 --equal 20 --out FILE

Each try is a comparison by turns, as `make bench-compare` makes it, of this checkout with itself, where one side is
slowed in every call (`tests/regressions/slowed.py`). In equal runs no side is.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.plan.checkout import ROOT
from tests.regressions.gate import BY_TURNS, against
from tests.regressions.sitting import Side

# Variables of the environment that tell the slowed side by how much, and whether by waiting.
FACTOR, WAITING = "SLOWED_BY", "SLOWED_BY_WAITING"
SLOWED = "tests.regressions.slowed:BENCHMARKS"


def one(equal: Side, planted: bool, only: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A comparison: what it found, and the machine.

    Raises:
        ValueError: One line: the two sides could not be compared.
    """
    began = time.perf_counter()
    ours = replace(equal, benchmarks=SLOWED) if planted else equal
    found, machine = against(equal, ours, only, BY_TURNS)
    if found.faults:
        raise ValueError("; ".join(found.faults))
    ratios = {
        f"{row.name} ({row.measure})": [round(x, 4) for x in (row.ratio, row.low, row.high)] for row in found.rows
    }
    told = {
        "planted": planted, "slower": [row.words() for row in found.slower], "ratios": ratios,
        "load": os.getloadavg()[0], "minutes": round((time.perf_counter() - began) / 60, 2),
    }  # fmt: skip
    return told, machine


def main() -> None:
    """Writes the file after every try, so that an interruption loses one."""
    parser = argparse.ArgumentParser(prog="python -m tests.regressions.tries", description="What does the gate find?")
    parser.add_argument("--factor", type=float, default=1.10, help="how many times as long every planted call takes")
    parser.add_argument("--wait", action="store_true", help="plant a sleep, not work")
    parser.add_argument("--tries", type=int, default=10, help="comparisons with a side that is slowed")
    parser.add_argument("--equal", type=int, default=0, help="comparisons of equal sides")
    parser.add_argument(
        "--only", default="step 18 plain", help="only benchmarks whose name holds this; or one by its name"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    options = parser.parse_args()
    os.environ[FACTOR] = str(options.factor)
    if options.wait:
        os.environ[WAITING] = "1"
    side = Side(sys.executable, ROOT, options.device)
    kept: list[dict[str, Any]] = []
    try:
        for planted in [True] * options.tries + [False] * options.equal:
            told, machine = one(side, planted, options.only)
            kept.append(told)
            asked = {"factor": options.factor, "wait": options.wait, "only": options.only}
            content = {**asked, **counted(kept), "machine": machine, "tries": kept}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            seen = ", ".join(f"{name} {ratio:.3f}" for name, (ratio, _, _) in told["ratios"].items())
            kind = "planted" if planted else "equal"
            print(f"{kind}: {'; '.join(told['slower']) or 'nothing slower'} ({seen}; load {told['load']:.1f}, "
                  f"{told['minutes']} minutes)", flush=True)  # fmt: skip
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if kept:
        print("found {found} of {planted}; alarms in {alarms} of {equal} equal runs; {minutes} minutes, load {load} in "
              "the middle".format(**counted(kept)))  # fmt: skip


def counted(kept: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of how many."""
    planted, equal = ([told for told in kept if told["planted"] == kind] for kind in (True, False))
    return {
        "planted": len(planted), "found": sum(bool(told["slower"]) for told in planted),
        "equal": len(equal), "alarms": sum(bool(told["slower"]) for told in equal),
        "minutes": round(sum(told["minutes"] for told in kept), 1),
        "load": round(sorted(told["load"] for told in kept)[len(kept) // 2], 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
