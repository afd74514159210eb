"""What must agree before one record counts for another, is compared with it, or a trial goes on from a checkpoint.

That is `COMPARED`, and what a user's own block reads beside its imports: files, and variables of the environment. No
torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.plan.trial import Trial
from bench.plan.tuned import Rates, net_of
from bench.store.parts import Environment, Today
from bench.store.record import COMPARED


def agreed(environment: Environment) -> dict[str, str]:
    """By name, in words, all that must agree; empty where the environment does not say."""
    return {**compared(environment), **own_reads(environment)}


def compared(environment: Environment) -> dict[str, str]:
    """The part of `agreed` that is of the machine, the code and the data.

    Threads count on a CPU alone, where records of the first version, which do not name them, had one.
    """
    found: dict[str, str] = {name: _text(environment.get(name)) for name in COMPARED}
    on_cpu = environment.get("device") == "cpu"
    return {**found, "threads": str(environment.get("threads", 1)) if on_cpu else ""}


def own_reads(environment: Environment) -> dict[str, str]:
    """The part of `agreed` that is of a user's own block: digests of what it reads; none where it reads nothing."""
    variables = environment.get("own_variables")
    found = {"file that the block reads": _text(environment.get("own_files"))}
    for name, digest in sorted(variables.items()) if isinstance(variables, dict) else []:
        found[f"value of the variable {name}, which the block reads"] = _text(digest)
    # A variable that was not set is as one that nobody asked for.
    return {name: value for name, value in found.items() if value}


def reads_digest(environment: Environment) -> str:
    """Of `own_reads`, 16 hex digits; empty where the block reads nothing."""
    found = own_reads(environment)
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16] if found else ""


def differences(old: Environment, new: Environment) -> list[str]:
    """Names of what differs between two environments, of that which must agree."""
    one, other = agreed(old), agreed(new)
    return [name for name in {**one, **other} if one.get(name, "") != other.get(name, "")]


def today_of(today: Today, factory: str) -> Environment:
    """What a record of today will say of an architecture: its own files and variables in place of those of all.

    Args:
        today: As the preflight found it.
        factory: "package.module:name" of a user's own architecture, or "".
    """
    rest = today.copy()
    files, variables = rest.pop("files_by_factory", {}), rest.pop("variables_by_factory", {})
    environment: Environment = rest
    if factory in files:
        environment["own_files"] = files[factory]
    if factory in variables:
        environment["own_variables"] = variables[factory]
    return environment


def check_rates(trials: Sequence[Trial], rates: Mapping[str, Rates], today: Mapping[str, Today]) -> None:
    """Refuses rates that were searched while a user's own block read other files or variables than today.

    Args:
        trials: What is to run; those at a rate of their own are left alone.
        rates: By study, what was searched.
        today: By data set, as the preflight found it.

    Raises:
        ValueError: One line that names a net and asks for a new search.
    """
    rows = {trial.architecture.name: trial.architecture for trial in trials}
    for trial in trials:
        # Of another's rate it is the other that was searched; where only one of the two is run, nobody has looked.
        row = rows.get(trial.lr_from.partition(" of ")[2] or trial.architecture.name)
        if trial.lr_from == "study" or not row or not row.factory:
            continue
        net, now = net_of(replace(trial, architecture=row)), today_of(today[trial.dataset], row.factory)
        found = next((rate for rate in rates[trial.study].found if rate.net == net), None)
        if found and found.reads is not None and found.reads != reads_digest(now):
            raise ValueError(
                f"the rate of {row.name} of {trial.depth} layers was searched while the block read another file or"
                " variable: search again: make tune STUDY=..."
            )


def _text(value: object) -> str:
    return "" if value is None else str(value)
