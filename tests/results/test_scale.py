"""The time per record of loading, summarising and saving, against that of parsing the same files on the same core.

Processors differ by half, and a neighbour slows both. Seconds on a quiet machine: `make scale`.
`SCALE=10000 pytest tests/results/test_scale.py -s` measures any other number and prints it.
"""

import json
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_up import study_records, write

from results import files, tables

COUNT = int(os.environ.get("SCALE", "2000"))
PARSINGS = 20
# Seen: 0.9 to 1.0 times as long as so many parsings (Intel Xeon, beside two trainings).
MOST_RATIO = 2.0


def parsing(paths: Sequence[Path]) -> float:
    """CPU seconds of parsing every file half of `PARSINGS` times."""
    began = time.process_time()
    for _ in range(PARSINGS // 2):
        for path in paths:
            json.loads(path.read_bytes())
    return time.process_time() - began


@pytest.mark.slow
def test_records_load_and_summarise_in_time(tmp_path: Path) -> None:
    made = 0
    for lr in range(1, 1_000_000):
        if made >= COUNT:
            break
        made += len(write(tmp_path / "records", study_records(seeds=range(20), cost=False, lr=lr / 100), ["lr"]))
    paths = sorted((tmp_path / "records").rglob("*.json"))
    assert len(paths) == made
    yardstick = parsing(paths)
    began = time.process_time()
    frames = tables.load([tmp_path / "records"])
    loaded = time.process_time() - began
    files.save(frames, tmp_path / "out")
    saved = time.process_time() - began
    yardstick += parsing(paths)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{made} records: loaded and summarised in {loaded:.2f} s, saved in {saved:.2f} s, peak {peak:.2f} GiB")
    print(f"{saved / yardstick:.2f} times as long as {PARSINGS} parsings")
    assert len(frames.trials) == made
    assert saved < MOST_RATIO * yardstick
