"""Exceptions in words. No torch."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message that says anything; empty where none does."""
    return next(iter(str(error).strip().splitlines()), "")
