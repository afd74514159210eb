"""A finished sweep, run once for all tests of sweeps."""

from pathlib import Path

import pytest
from made_sweep import DONE, run

from bench.store.record import Status
from bench.sweep import run as sweep


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, to copy and to compare with."""
    folder = tmp_path_factory.mktemp("reference")
    assert run(folder) == sweep.Summary(0, 0, {Status.OK: DONE}, 0, "")
    return folder
