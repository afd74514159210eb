"""Exceptions in words. No torch."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message that says anything; empty where none does."""
    return next(iter(str(error).strip().splitlines()), "")


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it says nothing."""
    return first_line(error) or type(error).__name__
