"""Reads what a command line asks for: lists, durations, folders, and the part of a study that is meant.

Own file because every command reads alike. What cannot be read is a ValueError of one line. No torch.
"""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Of a number of a list, and of a duration in its unit: more is a slip of the keyboard.
_MOST_DIGITS = 18
_LONGEST = 1_000_000


def numbers(option: str, text: str) -> list[int] | None:
    """Reads "0,1,2".

    Raises:
        ValueError: Not whole numbers, or one twice.
    """
    if not text.strip():
        return None
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS for part in parts):
        raise ValueError(f"{option} {text!r:.80} must be whole numbers with commas between them, for example 0,1,2")
    values = [int(part) for part in parts]
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{option} {text!r} lists {value} twice")
    return values


def seed_list(text: str, first: int = 0) -> list[int] | None:
    """Seeds as a list, or a count N for N from the first on."""
    values = numbers("--seeds", text)
    if values is not None and len(values) == 1 and "," not in text:
        if not 1 <= values[0] <= 100:
            raise ValueError(f"--seeds {text!r}: a count must be 1 to 100; for one seed write a comma after it: 7,")
        return list(range(first, first + values[0]))
    return values


def seconds(option: str, text: str) -> float:
    """Reads a duration: 90s, 9m, 1.5h; empty is none (0).

    Raises:
        ValueError: It is none of these, not above zero, or has no unit: 9 is as likely meant as minutes.
    """
    if not text.strip():
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600}.get(text.strip()[-1].lower())
    digits = text.strip()[:-1] if unit else text.strip()
    if not digits.replace(".", "", 1).isdecimal() or not digits.isascii() or not 0 < float(digits) <= _LONGEST:
        raise ValueError(f"{option} {text!r:.80} must be a duration above zero, at most {_LONGEST}: 90s, 9m or 1.5h")
    if unit is None:
        raise ValueError(f"{option} {text!r} has no unit: {digits}m are minutes, {digits}s seconds")
    return float(digits) * unit


def folder(option: str, optional: bool = False) -> Callable[[str], str]:
    """What reads an option that names a folder: a leading ~ is the home folder, which no shell has seen where make
    or "--records=~/mine" hands it on.

    Raises (when it reads):
        ValueError: Nothing is named, or a file.
    """

    def read(text: str) -> str:
        if optional and not text:
            return text
        if not text.strip():
            raise ValueError(f"{option} must name a folder")
        path = _home(text)
        if path.is_file():
            raise ValueError(f"{option} {text!r} is a file, not a folder")
        return str(path)

    return read


def study_name(text: str) -> str:
    """A study as a command line names it; in a path, a leading ~ is the home folder."""
    return str(_home(text)) if text.endswith(".toml") else text


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r}: there is no such home folder") from None


def known_depths(study: Any, asked: list[int] | None) -> None:
    """Refuses depths that the study does not have, which would silently run less than was asked."""
    have = sorted({trial.depth for trial in (*study.trials, *study.untuned)})
    for depth in asked or []:
        if depth not in have:
            raise ValueError(f"--depths: study {study.name!r} has no depth {depth}; it has {', '.join(map(str, have))}")


def asked(study: str, seeds: str, depths: list[int] | None, purpose: str) -> Any:
    """The study as the options narrow it; of a search, the seeds are its own."""
    from bench.plan.study import load
    from bench.plan.trial import FIRST_SEARCH_SEED

    if purpose == "search":
        return load(study, None, depths, seed_list(seeds, FIRST_SEARCH_SEED))
    return load(study, seed_list(seeds), depths)


def known_claims(study: Any) -> None:
    """Refuses claims that are none, which the report would refuse after all the work. By name: it is no part of us."""
    from models.spec import unknown

    claims = importlib.import_module("reports.claims").CLAIMS if study.claims else {}
    for claim in study.claims:
        if claim not in claims:
            raise ValueError(f"study {study.name!r}: {unknown('claim', claim, claims)}")


def chosen(study: Any, only: list[str], purpose: str = "") -> Any:
    """The study with only the trials of these digests, or of this purpose; all but a search where none is asked for."""
    from bench.plan.trial import PURPOSES
    from models.spec import unknown

    if study.untuned and purpose not in ("cost", "search") and not any(trial.trains for trial in study.trials):
        raise ValueError(f"study {study.name!r}: {study.waits}")
    if purpose:
        if purpose not in PURPOSES:
            raise ValueError(unknown("purpose", purpose, PURPOSES))
        trials = (*study.trials, *study.search)
        study = dataclasses.replace(study, trials=tuple(t for t in trials if t.purpose == purpose))
        if purpose == "search":
            study = dataclasses.replace(study, varied=tuple(dict.fromkeys((*study.varied, "lr"))))
        if not study.trials:
            more = "; a table [search] declares one" if purpose == "search" else ""
            raise ValueError(f"--purpose {purpose}: study {study.name!r} has no such trial{more}")
    have = {trial.digest: trial for trial in study.trials}
    for digest in only:
        if digest not in have:
            raise ValueError(f"--only: study {study.name!r} has no trial {digest!r} with these seeds and depths")
        if only.count(digest) > 1:
            raise ValueError(f"--only names trial {digest} twice")
    return dataclasses.replace(study, trials=tuple(have[digest] for digest in only)) if only else study
