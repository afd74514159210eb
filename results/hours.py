"""How long trials took, as hours of what they used, and how many shared a GPU."""

import pandas as pd

from bench.plan.machine import GPUS


def sharing(trials: pd.DataFrame) -> pd.Series:
    """How many trials may have run at once on the GPU of each, itself included; 1 on a CPU, where a core has one."""
    both = trials["workers"].clip(lower=1).fillna(1) * trials["seeds_at_once"].clip(lower=1).fillna(1)
    return both.where(trials["device"].isin(GPUS), 1)


def taken(trials: pd.DataFrame, what: str) -> tuple[str, str]:
    """The time that trials took, in words: of a core for each thread on a CPU; of a GPU, its share."""
    on_gpu = trials["device"].isin(GPUS)
    used = trials["threads"].clip(lower=1).fillna(1).where(~on_gpu, 1 / sharing(trials))
    kind = "GPU-hours" if len(trials) and on_gpu.all() else "core-hours"
    hours = float((trials["seconds"] * used).sum()) / 3600
    return f"{hours:.2g}" if hours else "", f"{kind} {what}"
