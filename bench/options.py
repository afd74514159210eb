"""What stands behind an option of the command line, read or refused in one line. No torch."""

from pathlib import Path


def numbers(option: str, text: str) -> list[int] | None:
    """Reads "0,1,2".

    Raises:
        ValueError: Not whole numbers, or one twice.
    """
    if not text.strip():
        return None
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"{option} {text!r} must be whole numbers with commas between them, for example 0,1,2")
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
    """Reads a duration: 90, 90s, 9m, 1.5h; empty is none (0).

    Raises:
        ValueError: It is none of these, or not above zero.
    """
    if not text.strip():
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600}.get(text.strip()[-1].lower())
    digits = text.strip()[:-1] if unit else text.strip()
    if not digits.replace(".", "", 1).isdecimal() or not digits.isascii() or float(digits) <= 0:
        raise ValueError(f"{option} {text!r} must be a duration above zero: 90s, 9m or 1.5h")
    return float(digits) * (unit or 1)


def home(folder: str) -> Path:
    """A path in which a leading ~ is the home folder: no shell has seen it when make hands it on."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise ValueError(f"{folder!r}: there is no such home folder") from None
