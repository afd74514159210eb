"""Exceptions in words. No torch."""

import re

# How the private packages begin by which a user's modules are imported (`own_imports`): no user wrote them.
OWN = "own_"
_PRIVATE = re.compile(rf"\b{OWN}[0-9a-f]{{8}}\.")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message that says anything; empty where none does."""
    return _PRIVATE.sub("", next(iter(str(error).strip().splitlines()), ""))


# What a user's code may raise where it is called: `exit()` there must not end a command with a code of its own.
RAISED = (Exception, SystemExit, GeneratorExit)


def one_line(text: str) -> str:
    """The text with line ends and all else that is not printable as they stand in a source: `\\n`, `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it says nothing."""
    return first_line(error) or type(error).__name__
