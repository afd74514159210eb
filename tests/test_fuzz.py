"""A few random inputs of each kind; `python -m tests.harness.fuzz KIND 100000` tries many."""

import pytest

from tests.harness.fuzz import KINDS, fuzz

TRIES = {"toml": 300, "words": 60, "records": 3, "images": 60}


def test_every_kind_is_tried() -> None:
    assert TRIES.keys() == KINDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # of decoders, about damage
def test_random_inputs_are_used_or_refused_in_one_line(kind: str) -> None:
    assert fuzz(kind, TRIES[kind]) == []
