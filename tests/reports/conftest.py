"""Made-up pages for all tests of the page: drawing figures takes seconds, so a page is drawn once for all processes."""

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

import pytest
from filelock import FileLock
from made_page import hostile, usual

from reports.finding import Finding
from reports.page import render
from reports.page.context import Source

Made = TypeVar("Made")


def once(name: str, make: Callable[[], Made], factory: pytest.TempPathFactory) -> Made:
    """What `make` gives; of the processes of one `make test` the first that asks makes it, the others read its file."""
    own = factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    path = folder / f"{name}.pickle"
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            path.write_bytes(pickle.dumps(make()))
        found: Made = pickle.loads(path.read_bytes())
    return found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return once("usual", usual, tmp_path_factory)


@pytest.fixture(scope="session")
def page(made: Source, tmp_path_factory: pytest.TempPathFactory) -> str:
    return once("usual-page", lambda: render.page(made), tmp_path_factory)


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return once("hostile-page", lambda: render.page(hostile()), tmp_path_factory)


@pytest.fixture(scope="session")
def findings(made: Source) -> dict[str, list[Finding]]:
    return made.findings
