"""One made-up page for all tests of the page: drawing its figures takes seconds."""

import pytest
from made_page import usual

from reports.finding import Finding
from reports.page import render
from reports.page.context import Source


@pytest.fixture(scope="session")
def made() -> Source:
    return usual()


@pytest.fixture(scope="session")
def page(made: Source) -> str:
    return render.page(made)


@pytest.fixture(scope="session")
def findings(made: Source) -> dict[str, list[Finding]]:
    return made.findings
