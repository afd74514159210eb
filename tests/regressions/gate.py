"""Has something become slower? Compares two sides by turns, or this one with a saved baseline. No torch.

    python -m tests.regressions.gate                         saves a baseline where there is none, else compares with it
    python -m tests.regressions.gate --base FILE             compares with that file
    python -m tests.regressions.gate --against PYTHON|DIR    takes turns with another interpreter or checkout

Judged are two clocks, the wall's, since waiting is slow too, and the processor's, which neighbours lengthen less;
peak memory of a first step, where it can be read; and the slope of each over depth. By turns is the sharper way:
each round of one side stands beside a round of the other that met the same neighbours. What the machine does between a
baseline and today no interval knows, so a baseline has the wider threshold. Whatever seems slower is measured again,
by several fresh processes, and fails if the interval of all their rounds says so.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench.plan.checkout import ROOT
from tests.regressions import told
from tests.regressions.rounds import LEAST, Pair, Round, Saved, file_name, noise, read, unlike
from tests.regressions.rows import Comparison, judge
from tests.regressions.sitting import Side, Sitting

T = TypeVar("T")

SIDE = "tests/regressions/side.py"
# A benchmark is looked at again when its ratio is above 1 + this, and fails when then the whole interval is. What these
# find was measured: docs/performance.md.
BY_TURNS = 0.04
BASELINE = 0.15
# Rounds of a benchmark in one process: as many as fit into so many seconds of one side, from LEAST up to these.
MOST, BUDGET_S = 40, 8.0
# Processes of each side for a second look, and for a baseline: their places in memory make equal code differ, and no
# interval of one process's rounds knows that.
AGAIN, PLACES = 3, 2


def _enough(walls: Sequence[float]) -> bool:
    return len(walls) >= LEAST and (len(walls) >= MOST or sum(walls) >= BUDGET_S)


def _announced(names: Sequence[str]) -> Iterator[str]:
    """Says each as its turn comes: all of them take minutes."""
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
        yield name


def _processes(count: int) -> Iterator[int]:
    """Says each where there are several: what is measured is measured in each."""
    for place in range(count):
        if count > 1:
            print(f"process {place + 1} of {count}", file=sys.stderr, flush=True)
        yield place


def by_turns(theirs: Sitting, ours: Sitting, names: Sequence[str]) -> dict[str, list[Pair]]:
    """Rounds of both sides in turns; who is first changes from pair to pair."""
    found: dict[str, list[Pair]] = {}
    for name in _announced(names):
        theirs.hold(name)
        ours.hold(name)
        pairs = found[name] = []
        while not _enough([pair[1].wall for pair in pairs]):
            if len(pairs) % 2:
                now = ours.round(calibrated=False)
                pairs.append((theirs.round(calibrated=False), now))
            else:
                before = theirs.round(calibrated=False)
                pairs.append((before, ours.round(calibrated=False)))
    return found


def alone(side: Sitting, names: Sequence[str]) -> dict[str, list[Round]]:
    """Rounds of one side, each with a calibration before it: the machine's pace changes within seconds."""
    found: dict[str, list[Round]] = {}
    for name in _announced(names):
        side.hold(name)
        rounds = found[name] = []
        while not _enough([each.wall for each in rounds]):
            rounds.append(side.round(calibrated=True))
    return found


def alternating(sittings: Sequence[Mapping[str, Sequence[T]]]) -> dict[str, list[T]]:
    """The rounds of several sittings, by turns: whoever reads only the first of them meets each process."""
    names = dict.fromkeys(itertools.chain.from_iterable(sittings))
    return {
        name: [each for turn in itertools.zip_longest(*(s.get(name, ()) for s in sittings)) for each in turn if each]
        for name in names
    }


# ---- the command


def interpreter_and_checkout(other: str) -> tuple[str, Path]:
    """A folder is another checkout, run by this interpreter; anything else is another interpreter.

    Raises:
        ValueError: One line: a folder without these benchmarks.
    """
    path = Path(other)
    if not path.is_dir():
        return other, ROOT
    if not (path / SIDE).is_file():
        raise ValueError(f"{path} has no {SIDE}")
    return sys.executable, path.resolve()


def chosen(names: Sequence[str], only: str) -> list[str]:
    """Those whose name holds these words; of a whole name, that one."""
    return [only] if only in names else [name for name in names if only in name]


def against(theirs: Side, ours: Side, only: str, threshold: float) -> tuple[Comparison, dict[str, Any]]:
    """Compares two sides by turns: all, then by fresh processes what seems slower; also gives the machine."""
    machine: dict[str, Any] = {}

    def measured(names: Sequence[str], processes: int) -> Comparison:
        sittings: list[dict[str, list[Pair]]] = []
        faults: list[str] = []
        for _ in _processes(processes):
            with theirs.sitting() as before, ours.sitting() as now:
                machine.update(now.machine)
                if faults := unlike(now.machine, before.machine):
                    return Comparison(faults=faults)
                asked = names or chosen(before.names, only)
                there = [name for name in asked if name in now.names]
                faults = [f"{name} vanished" for name in asked if name not in there]
                sittings.append(by_turns(before, now, there))
        return Comparison(judge(alternating(sittings), calibrated=False), faults)

    return _confirmed(measured, threshold), machine


def since(base: Saved, ours: Side, only: str, threshold: float) -> tuple[Comparison, Saved]:
    """Compares with a baseline; also gives what was measured."""
    kept: list[Saved] = []

    def measured(names: Sequence[str], processes: int) -> Comparison:
        sittings = []
        for _ in _processes(processes):
            with ours.sitting() as now:
                if faults := unlike(now.machine, base.machine):
                    return Comparison(faults=faults)
                sittings.append(alone(now, names or chosen(now.names, only)))
        rounds = alternating(sittings)
        kept.append(Saved(now.machine, rounds, noise(rounds)))
        faults = [f"{name} vanished" for name in chosen(list(base.rounds), only) if name not in now.names]
        # The longer side is cut: rounds of two days are no pairs, and any order of them will do.
        pairs = {n: list(zip(base.rounds[n], found, strict=False)) for n, found in rounds.items() if n in base.rounds}
        return Comparison(judge(pairs, calibrated=True), faults)

    found = _confirmed(measured, threshold)
    return found, kept[0] if kept else base


def _confirmed(measured: Callable[[Sequence[str], int], Comparison], threshold: float) -> Comparison:
    """A first look at all, and a second one at what seems slower, which decides."""
    found = measured((), 1)
    if not found.rows and not found.faults:
        found.faults.append("nothing was compared")
    suspects = [row for row in found.rows if not row.ratio <= row.limit(threshold)]
    if not suspects:
        return found
    names = list(dict.fromkeys(name for row in suspects for name in row.parts))
    print(f"measured again: {', '.join(names)}", flush=True)
    again = measured(names, AGAIN)
    found.faults += again.faults
    anew, suspected = {row.name for row in again.rows}, {row.name for row in suspects}
    found.rows = [row for row in found.rows if row.name not in anew] + again.rows
    found.slower = [row for row in again.rows if row.name in suspected and not row.low <= row.limit(threshold)]
    return found


def baseline(ours: Side) -> Saved:
    """Measures a baseline in several processes."""
    sittings = []
    for _ in _processes(PLACES):
        with ours.sitting() as now:
            sittings.append(alone(now, now.names))
            machine = now.machine
    rounds = alternating(sittings)
    return Saved(machine, rounds, noise(rounds))


def main() -> None:
    """Exit code 0, 1 where something slowed or vanished, 2 for a request that cannot be served."""
    parser = argparse.ArgumentParser("python -m tests.regressions.gate", description="Has something become slower?")
    parser.add_argument("--base", help="a saved baseline to compare with")
    parser.add_argument("--against", help="another interpreter, or the folder of another checkout")
    parser.add_argument("--threshold", type=float, help=f"fraction of slowing that is let pass ({BY_TURNS} by turns, "
                        f"else {BASELINE})")  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--only", default="", help="only benchmarks whose name holds this; or one by its name")
    parser.add_argument("--dir", type=Path, default=Path(".benchmarks"), help="where baselines lie")
    parser.add_argument("--json", type=Path, help="write the values for github-action-benchmark, or for Bencher where "
                        f"the name ends in {told.BENCHER}")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("results/out/bench"), help="where a comparison's figure goes")
    options = parser.parse_args()
    try:
        raise SystemExit(_serve(options))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted: nothing was saved", file=sys.stderr)
        raise SystemExit(130) from None


def _serve(options: argparse.Namespace) -> int:
    for folder in (options.out, options.json and options.json.parent):
        if folder:
            _make(folder)
    if options.json and options.json.is_dir():
        raise ValueError(f"{options.json} is a folder; --json takes a file")
    ours = Side(sys.executable, ROOT, options.device)
    if options.against:
        theirs = Side(*interpreter_and_checkout(options.against), options.device)
        threshold = BY_TURNS if options.threshold is None else options.threshold
        found, machine = against(theirs, ours, options.only, threshold)
        if options.json:
            told.write(options.json, told.ratios(found.rows, machine, options.against))
        return told.tell(found, f"{options.against}, by turns", threshold, options.out)
    _make(options.dir)
    if options.base:
        base, name = read(Path(options.base)), options.base
    else:
        with ours.sitting() as now:
            kept = options.dir / file_name(now.machine)
        if not kept.exists():
            return _save(ours, kept, options)
        base, name = read(kept), str(kept)
    threshold = BASELINE if options.threshold is None else options.threshold
    found, latest = since(base, ours, options.only, threshold)
    latest.write(options.dir / "latest.json")
    if options.json:
        told.write(options.json, told.values(latest))
    for which, saved in (("the baseline", base), ("this run", latest)):
        if saved.noise:
            print(f"{which} is noisy: {'; '.join(saved.noise)}")
    return told.tell(found, name, threshold, options.out)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}") from None


def _save(ours: Side, path: Path, options: argparse.Namespace) -> int:
    if options.only:
        raise ValueError("a baseline of a part would hide what it lacks: leave --only out")
    saved = baseline(ours)
    saved.write(path)
    if options.json:
        told.write(options.json, told.values(saved))
    print(f"baseline saved: {path} ({len(saved.rounds)} benchmarks)")
    if saved.noise:
        print(f"it is noisy, and comparisons will say so: {'; '.join(saved.noise)}. Save another in quiet.")
    return 0


if __name__ == "__main__":
    main()
