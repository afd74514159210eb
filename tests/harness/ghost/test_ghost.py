"""The CUDA path on the ghost card: what is captured, what waits, what is launched, what becomes of too small a card.

None of it needs a GPU, and no number read from a tensor means anything here (see `build`).
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from models.spec import ARCHITECTURES
from tests.harness.ghost.build import build, hindrance
from tests.harness.ghost.stage import Stage

Play = Callable[..., Any]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(hindrance()), reason=hindrance() or "none")]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    stage = Stage(build(tmp_path_factory.mktemp("ghost")))
    yield stage
    stage.close()


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_every_architecture_is_captured_as_the_eager_step_launches_it(play: Play, precision: str) -> None:
    """And a replay is one launch beside the copy of an epoch's order, and waits for nothing."""
    found = play("captures", {"precision": precision, "drop_last": False}, list(ARCHITECTURES))
    assert set(found) == set(ARCHITECTURES)
    for name, row in found.items():
        assert (row["note"], row["problems"], row["waits"]) == ("", [], 0), name
        assert row["execution"] == ("graph+exact" if precision == "fp32" else "graph"), name
        assert row["captured"] == row["eager"] > 100, name
