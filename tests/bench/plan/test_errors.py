"""What an exception says in one line."""

import pytest

from bench.plan.errors import first_line, reason
from bench.plan.machine import usable_cores


@pytest.mark.parametrize(
    ("message", "line"), [("", ""), (" \n ", ""), ("one", "one"), ("\n one \ntwo", "one "), ("one\r\ntwo", "one")]
)
def test_the_first_line_that_says_anything(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line


def test_a_silent_exception_is_told_by_its_type() -> None:
    assert (reason(ValueError("one\ntwo")), reason(EOFError())) == ("one", "EOFError")


def test_there_is_a_core_to_use() -> None:
    assert usable_cores() >= 1
