"""Ten thousand records in 20 s and 1 GiB, on a fifth of them: processor time, which neighbours do not change.

`SCALE=10000 pytest tests/results/test_scale.py -s` measures any other number and prints it.
"""

import os
import resource
import time
from pathlib import Path

import pytest
from made_up import study_records, write

from results import files, tables

COUNT = int(os.environ.get("SCALE", "2000"))
SECONDS_A_RECORD = 20 / 10_000


@pytest.mark.slow
def test_records_load_and_summarise_in_time(tmp_path: Path):
    made = 0
    for lr in range(1, 1_000_000):
        if made >= COUNT:
            break
        made += len(write(tmp_path / "records", study_records(seeds=range(20), cost=False, lr=lr / 100), ["lr"]))
    began = time.process_time()
    frames = tables.load([tmp_path / "records"])
    loaded = time.process_time() - began
    files.save(frames, tmp_path / "out")
    saved = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{made} records: loaded and summarised in {loaded:.2f} s, saved in {saved:.2f} s, peak {peak:.2f} GiB")
    assert len(frames.trials) == made
    # Three quarters of the time: a neighbour on the same core takes some of it (alone it is under a half).
    assert saved < made * SECONDS_A_RECORD * 0.75
