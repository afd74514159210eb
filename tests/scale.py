"""How tables and page grow with the number of records, 100 to 100,000 made-up ones (`make scale`).

Each number in a process of its own, so that its peak memory is its own. The promise is 20 s and 1 GiB for 10,000.
"""

import dataclasses
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (100, 1_000, 10_000, 100_000)


def measure(count: int) -> str:
    """A line of the table: seconds to load and summarise, to judge, and to render the page; its size; peak memory."""
    from made_page import source
    from made_up import study_records, write

    from bench.plan.study import Study
    from reports.claims import judge
    from reports.page import render
    from results import tables

    with tempfile.TemporaryDirectory() as folder:
        made = 0
        trials = []
        for lr in itertools.count(1):
            records = study_records(seeds=range(20), lr=lr / 1000)[: count - made]
            write(Path(folder), records, ["lr"])
            trials += [record.trial for record in records]
            made += len(records)
            if made >= count:
                break
        empty = source([])
        began = time.perf_counter()
        frames = tables.load([Path(folder)])
        loaded = time.perf_counter()
        findings = judge(frames)
        judged = time.perf_counter()
        study = Study(
            "made-up", "Made-up networks", "", (), tuple(trials), varied=("architecture", "depth", "seed", "lr")
        )
        page = render.page(dataclasses.replace(empty, study=study, frames=frames, findings=findings))
        ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"{count:>8} {loaded - began:8.2f} {judged - loaded:8.2f} {ended - judged:8.2f} {ended - began:8.2f}"
        f" {len(page) / 2**20:8.2f} {peak:8.2f}"
    )


def main() -> None:
    """Prints the table; with a number, one line of it."""
    if len(sys.argv) > 1:
        print(measure(int(sys.argv[1])), flush=True)
        return
    print(" records     load    judge     page  all (s) page MiB peak GiB", flush=True)
    for count in COUNTS:
        subprocess.run([sys.executable, __file__, str(count)], check=True)


if __name__ == "__main__":
    main()
