"""What the look before a sweep is to try: no torch."""

from dataclasses import replace
from typing import Any

from bench.plan.study import Study
from bench.plan.trial import Trial, values
from models.layouts import nearest_depths


def looks(study: Study, whole: Study) -> list[list[Trial]]:
    """What a preflight takes.

    Args:
        study: What is asked, perhaps narrowed to some depths or seeds.
        whole: As its file has it.

    Returns:
        A trial for each way of using data, for each architecture of a user's own, and for each list of probes. And
        where there is such an architecture: each net of it in the whole study, and at the least depth, at which it is
        tried, so that what a block reads is the same whichever depths are asked for.
    """
    uses = {(t.architecture.factory, *values(t, "data", "start")): t for t in study.trials}
    own = {_use(trial) for trial in uses.values() if trial.architecture.factory}
    nets = {}
    for trial in (*whole.trials, *whole.untuned, *whole.search):
        least = nearest_depths(trial.layout, 1)[0]
        for depth in (least, trial.depth, *trial.grow_to) if _use(trial) in own else ():
            nets[(*_use(trial), trial.layout, depth, trial.width)] = replace(trial, depth=depth)
    return [list(uses.values()), *([list(nets.values())] if nets else [])]


def _use(trial: Trial) -> tuple[Any, ...]:
    return trial.architecture, *values(trial, "data")
