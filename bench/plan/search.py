"""The search for learning rates: what a study's table [search] says, and the trials that it asks for. No torch.

[search]
rates = [0.1, 0.032, 0.01]   # tried with every net of the study that trains
seeds = 2                    # how many, from seed 100 on
[search.plain]               # and other values for an architecture, by its name
rates = [0.01, 0.0032]
[search.plain.at_depth]      # and for its nets of one depth
1002 = [0.001, 0.0001]
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.plan import tuned
from bench.plan.trial import FIRST_SEARCH_SEED, Trial, cell, check
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
        at_depth: Depths with rates of their own, and these.
    """

    rates: tuple[float, ...] = USUAL_RATES
    seeds: tuple[int, ...] = tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + USUAL_SEEDS))
    at_depth: tuple[tuple[int, tuple[float, ...]], ...] = ()

    def rates_at(self, depth: int) -> tuple[float, ...]:
        """The rates that are tried at a depth."""
        return dict(self.at_depth).get(depth, self.rates)


def read(table: object, judged: Sequence[Trial]) -> dict[str, Search]:
    """The search of each architecture, from the study's table [search].

    Args:
        table: As TOML gives it.
        judged: The study's own trials: architectures that it may name.

    Raises:
        ValueError: One line: an unknown key or architecture, or a value that is none.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"key 'search' must be a table, not {table!r:.80}")
    names = list(dict.fromkeys(trial.architecture.name for trial in tuned.searched(judged)))
    arms = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for name in arms:
        if name not in names:
            raise ValueError(f"search: {unknown('architecture', name, names)}")
    usual = _search({key: value for key, value in table.items() if key not in arms}, Search(), "search")
    found = {name: _search(arms.get(name, {}), usual, f"search.{name}") for name in names}
    for name, search in found.items():
        depths = sorted({trial.depth for trial in judged if trial.architecture.name == name})
        for depth, _ in search.at_depth:
            if depth not in depths:
                raise ValueError(f"search.{name}.at_depth: {unknown('depth', str(depth), list(map(str, depths)))}")
    return found


def _search(table: Mapping[str, Any], usual: Search, where: str) -> Search:
    found = usual
    for key, value in table.items():
        if key == "rates":
            found = replace(found, rates=_rates(value, where, "rates"))
        elif key == "at_depth" and where != "search":
            if not (isinstance(value, Mapping) and all(depth.isdecimal() for depth in value)):
                raise ValueError(f"{where}: at_depth must be a table of rates by depth, such as 1002 = [0.01, 0.001]")
            at_depth = {int(depth): _rates(rates, f"{where}.at_depth", depth) for depth, rates in value.items()}
            found = replace(found, at_depth=tuple(sorted(at_depth.items())))
        elif key == "seeds":
            if type(value) is not int or not 1 <= value <= MOST_SEEDS:
                raise ValueError(f"{where}: seeds must be how many, 1 to {MOST_SEEDS}, not {value!r:.80}")
            found = replace(found, seeds=tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + value)))
        else:
            raise ValueError(f"{where}: {unknown('key', key, ('rates', 'seeds', *['at_depth'] * (where != 'search')))}")
    return found


def _rates(value: object, where: str, key: str) -> tuple[float, ...]:
    if not (isinstance(value, list) and value and all(map(_is_rate, value)) and len(set(value)) == len(value)):
        raise ValueError(f"{where}: {key} must list learning rates above zero, each once, not {value!r:.80}")
    return tuple(sorted(map(float, value), reverse=True))


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def trials(searches: Mapping[str, Search], judged: Sequence[Trial], seeds: Sequence[int] | None = None) -> list[Trial]:
    """Every net whose rate is searched, at each rate and seed of its architecture's search; by seed.

    Args:
        searches: By architecture.
        judged: The study's own trials.
        seeds: Instead of each search's.
    """
    nets = dict.fromkeys(map(cell, tuned.searched(judged)))
    found = [
        replace(net, lr=lr, seed=seed)
        for net in nets
        for lr, seed in itertools.product(
            searches[net.architecture.name].rates_at(net.depth), seeds or searches[net.architecture.name].seeds
        )
    ]
    for trial in found:
        check(trial)
    return sorted(found, key=lambda trial: trial.seed)
