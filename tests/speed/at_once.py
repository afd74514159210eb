"""Steps a second of one net, and of several seeds of it at once in one process on one card (`bench/train/turns.py`)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from bench.plan.machine import KINDS
from bench.train import device as seam
from bench.train.turns import give_way, together

SEEDS = (1, 2, 4)


def rows(table: Any) -> list[dict[str, Any]]:
    """How many steps all seeds together take in a second; shown, not judged."""
    found = []
    for depth in table.scale.exact:
        for precision in ("bf16", "tf32"):
            alone = 0.0
            for seeds in SEEDS:
                speed = steps_a_second(table, depth, precision, seeds)
                alone = alone or speed
                what = f"seeds at once: {seeds}, depth {depth}, {precision}"
                found.append(table.row(what, speed, "steps/s", "shown", "-", True, over_one=speed / alone))
    return found


def steps_a_second(table: Any, depth: int, precision: str, seeds: int) -> float:
    """Of all seeds together, from when each has been captured until all are done."""
    begun, ended = [], []
    looks, every = 3 * table.scale.rounds, KINDS[table.device].look_every

    def run(seed: int) -> None:
        with table.step(replace(table.trial(depth, precision=precision), seed=seed)) as step:
            step()
            give_way()  # all others take their first step
            begun.append(time.perf_counter())
            for _ in range(looks):
                for _ in range(every):
                    step()
                give_way()
                float(step.loss)
            ended.append(time.perf_counter())

    calls: list[Callable[[], None]] = [partial(run, seed) for seed in range(seeds)]
    seam.synchronize(table.device)
    together(calls, table.device)
    return seeds * looks * every / (max(ended) - min(begun))
