"""How the page writes numbers and lists: rounding, units, dashes for what is missing. Plain text, no markup."""

import math
from collections.abc import Iterable
from typing import Any

from reports.finding import Finding

NOTHING = "–"


class Word(str):
    """What a table calls something that has a key in studies and commands; who copies the table as CSV gets the key."""

    __slots__ = ("key",)

    def __new__(cls, said: str, key: str) -> "Word":
        word = super().__new__(cls, said)
        word.key = key  # type: ignore[attr-defined]
        return word


# Networks that a figure's words go through one by one.
MOST_TOLD = 10


def some_told(lines: list[str]) -> list[str]:
    """What a figure says of each network; of many, only how many they are."""
    return lines if len(lines) <= MOST_TOLD else [f"{len(lines)} networks, whose numbers are in the tables."]


def number(value: Any, digits: int = 3) -> str:
    """A number for people: so many significant digits, no exponent in everyday ranges; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, str | bool):
        return str(value)
    size = abs(value)
    if size and (size < 1e-4 or size >= 1e7):
        return f"{value:.{digits}g}"
    return f"{float(f'{value:.{digits}g}'):.10g}"


def percent(value: Any, digits: int = 2) -> str:
    """A fraction as percent, without the sign; a dash where there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


# Units of findings that people read in another one: (above this size, times, new unit).
_UNITS = {
    "s/layer": (1e3, "ms per layer"),
    "B/layer": (2.0**-20, "MiB per layer"),
    "FLOP/image/layer": (1e-6, "MFLOP per image and layer"),
    "J/layer": (1.0, "J per layer"),
    "layer": (1.0, "layers"),
    "step": (1.0, "steps"),
    "block": (1.0, "blocks"),
}


def effect(finding: Finding) -> str:
    """Effect with its interval and unit, as a card shows it; empty when there is none."""
    if finding.effect is None or not math.isfinite(finding.effect):
        return ""
    points = finding.unit == "1"
    scale, unit = (100.0, "points") if points else _UNITS.get(finding.unit, (1.0, finding.unit))

    def side(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return ""
        if finding.unit == "%":  # an error: a t bound of few seeds may reach beyond what it can be
            value = min(max(value, 0.0), 100.0)
        text = f"{scale * value:.1f}" if points else number(scale * value)
        return _minus("0.0" if text == "-0.0" else text)

    shown = side(finding.effect)
    shown = f"+{shown}" if points and shown[0] not in "−0" else shown
    low, high = side(finding.low), side(finding.high)
    interval = {
        (True, True): f" [{low}, {high}]",
        (False, True): f" [at most {high}]",
        (True, False): f" [at least {low}]",
        (False, False): "",
    }[bool(low), bool(high)]
    return f"{shown}{interval} {unit}"


# Units that a table of the first screen has no room for.
_SHORT = {"points": "pts", "ms per layer": "ms/layer", "log-log slope": "slope"}


def short_effect(finding: Finding) -> str:
    """The effect alone, rounded, with a short unit; empty when there is none."""
    if finding.effect is None or not math.isfinite(finding.effect):
        return ""
    _, _, unit = effect(finding.but(low=None, high=None)).partition(" ")
    points = finding.unit == "1"
    value = (100.0 if points else _UNITS.get(finding.unit, (1.0, ""))[0]) * finding.effect
    # Points to one decimal, as they are judged; anything else in two digits.
    shown = f"{value:.{0 if abs(value) >= 10 else 1}f}" if points else f"{value:#.2g}".rstrip(".")
    shown = "0.0" if shown == "-0.0" else number(value, 2) if "e" in shown else shown
    sign = "+" if points and value > 0 and shown != "0.0" else ""
    return f"{sign}{_minus(shown)} {_SHORT.get(unit, unit)}"


def _minus(number: str) -> str:
    return number.replace("-", "−", 1) if number.startswith("-") else number


def sentence(text: str) -> str:
    """The text as a sentence: a capital first, a full stop last."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1:] in '.!?…' else '.'}" if text else ""


def listed(values: Iterable[Any], most: int = 12) -> str:
    """Values in their order, with commas; the middle of a long list is left out, and that is said."""
    words = [str(v) for v in values]
    if len(words) > most:
        words = [*words[: most // 2], f"… ({len(words) - most // 2 - 2} more)", *words[-2:]]
    return ", ".join(words)
