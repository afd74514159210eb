"""One browser, and one made-up page as a file, for all tests of the page in use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, FLAGS, Tab

from reports import __main__ as command_line
from reports.page import render


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there (Debian package chromium)")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def address(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "made-up.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="session", params=["digits", "digits-all"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of published records, as they are made today: of the default study, and of many studies together."""
    machine = next(machine for name, machine, _ in command_line.published_pages() if name == request.param)
    path = tmp_path_factory.mktemp("published") / f"{request.param}.html"
    source = command_line.gather(request.param, command_line.PUBLISHED_RECORDS, machine)
    path.write_text(render.page(source), encoding="utf-8")
    return path


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Tab]:
    opened = Tab(browser, address, permissions=["clipboard-read", "clipboard-write"])
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith("blob:")] == [address]
    opened.context.close()
