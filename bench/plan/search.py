"""The search for learning rates: what a study's table [search] says, and the trials that it asks for. No torch.

[search]
rates = [0.1, 0.032, 0.01]   # tried with every net of the study that trains
seeds = 2                    # how many, from seed 100 on
[search.plain]               # and other values for an architecture, by its name
rates = [0.01, 0.0032]
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.plan.trial import FIRST_SEARCH_SEED, Trial, check
from models.spec import unknown

# A factor of sqrt(10) apart: a parabola through three of them places the best between them.
USUAL_RATES = (0.1, 0.032, 0.01, 0.0032)
USUAL_SEEDS, MOST_SEEDS = 2, 100


@dataclass(frozen=True)
class Search:
    """What is tried for the nets of one architecture.

    Attributes:
        rates: Learning rates, falling.
        seeds: Rising, from `FIRST_SEARCH_SEED` on.
    """

    rates: tuple[float, ...] = USUAL_RATES
    seeds: tuple[int, ...] = tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + USUAL_SEEDS))


def read(table: object, judged: Sequence[Trial]) -> dict[str, Search]:
    """The search of each architecture, from the study's table [search].

    Args:
        table: As TOML gives it.
        judged: The study's own trials: architectures that it may name.

    Raises:
        ValueError: One line: an unknown key or architecture, or a value that is none.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"key 'search' must be a table, not {table!r}")
    names = list(dict.fromkeys(trial.architecture.name for trial in judged if trial.trains))
    arms = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for name in arms:
        if name not in names:
            raise ValueError(f"search: {unknown('architecture', name, names)}")
    usual = _search({key: value for key, value in table.items() if key not in arms}, Search(), "search")
    return {name: _search(arms.get(name, {}), usual, f"search.{name}") for name in names}


def _search(table: Mapping[str, Any], usual: Search, where: str) -> Search:
    found = usual
    for key, value in table.items():
        if key == "rates":
            listed = isinstance(value, list) and bool(value) and all(map(_is_rate, value))
            if not listed or len(set(value)) < len(value):
                raise ValueError(f"{where}: rates must list learning rates above zero, each once, not {value!r}")
            found = replace(found, rates=tuple(sorted(map(float, value), reverse=True)))
        elif key == "seeds":
            if type(value) is not int or not 1 <= value <= MOST_SEEDS:
                raise ValueError(f"{where}: seeds must be how many, 1 to {MOST_SEEDS}, not {value!r}")
            found = replace(found, seeds=tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + value)))
        else:
            raise ValueError(f"{where}: {unknown('key', key, ('rates', 'seeds'))}")
    return found


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def trials(searches: Mapping[str, Search], judged: Sequence[Trial], seeds: Sequence[int] | None = None) -> list[Trial]:
    """Every net that is judged, at each rate and seed of its architecture's search; by seed.

    Args:
        searches: By architecture.
        judged: The study's own trials.
        seeds: Instead of each search's.
    """
    nets = dict.fromkeys(cell(trial) for trial in judged if trial.trains)
    found = [
        replace(net, lr=lr, seed=seed)
        for net in nets
        for lr, seed in itertools.product(
            searches[net.architecture.name].rates, seeds or searches[net.architecture.name].seeds
        )
    ]
    for trial in found:
        check(trial)
    return sorted(found, key=lambda trial: trial.seed)


def cell(trial: Trial) -> Trial:
    """What a rate is chosen for: net and recipe, without the rate, the seed and what is looked at afterwards."""
    return replace(trial, purpose="search", lr=0.0, seed=0, probes=(), grow_to=())
