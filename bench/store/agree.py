"""What must agree before one record counts for another, is compared with it, or a trial goes on from a checkpoint.

That is `COMPARED`, and what a user's own block reads beside its imports: files, and variables of the environment. No
torch.
"""

import hashlib
import json

from bench.store.parts import Environment, Today
from bench.store.record import COMPARED


def agreed(environment: Environment) -> dict[str, str]:
    """By name, in words, all that must agree; empty where the environment does not say."""
    return {**{name: _text(environment.get(name)) for name in COMPARED}, **own_reads(environment)}


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


def _text(value: object) -> str:
    return "" if value is None else str(value)
