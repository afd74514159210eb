"""Pages of the published records in a browser: what real names, numbers and lengths do to the layout."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Before anything is opened; and on paper, where everything is.
MOST_SCREENS = {"digits": 7, "digits-all": 12}
MOST_SHEETS = 30
# Pixels at which the table of trials needs no scrolling.
TRIALS_FIT = (1024, 1280, 1440)
# Of A4 and Letter between the page's own margins of 11 mm.
PAPERS = {"A4": 711, "Letter": 733}


def test_the_first_screen_is_one_and_the_whole_page_a_few(browser: Any, published: Path) -> None:
    tab = Tab(browser, published.as_uri(), viewport={"width": 1440, "height": 900})
    assert tab.view.evaluate("document.querySelector('header').offsetHeight") <= 900
    assert tab.view.evaluate("document.documentElement.scrollHeight") <= 900 * MOST_SCREENS[published.stem]
    tab.context.close()


def test_a_verdict_on_all_networks_stands_in_the_middle_of_them(browser: Any, published: Path) -> None:
    tab = Tab(browser, published.as_uri())
    for cell in tab.view.locator(".matrix td[colspan]").all():
        box, pill = cell.bounding_box(), cell.locator(".pill").bounding_box()
        assert pill["x"] + pill["width"] / 2 == pytest.approx(box["x"] + box["width"] / 2, abs=2)
    tab.context.close()


def test_a_page_calls_no_claims_all_that_are_not(browser: Any, published: Path) -> None:
    tab = Tab(browser, published.as_uri())
    if tab.view.locator("#elsewhere").count():
        assert not re.search(r"(every|all) claims?", tab.view.locator(".lead").inner_text(), re.IGNORECASE)
    tab.context.close()


def test_the_trials_need_no_scrolling_sideways(browser: Any, published: Path) -> None:
    tab = Tab(browser, published.as_uri(), viewport={"width": TRIALS_FIT[0], "height": 900})
    tab.view.get_by_role("button", name="Show all").click()
    for width in TRIALS_FIT:
        tab.view.set_viewport_size({"width": width, "height": 900})
        table, room = (tab.view.locator(s).bounding_box()["width"] for s in ("table.trials", "#trials .scroll"))
        assert table <= room
    tab.context.close()


def test_a_claim_that_is_not_opened_says_one_line_of_each_network(browser: Any, published: Path) -> None:
    tab = Tab(browser, published.as_uri(), viewport={"width": 1440, "height": 900})
    lines = tab.view.locator(".claim .says li")
    assert lines.count() > 5
    assert max(lines.evaluate_all("all => all.map((line) => line.offsetHeight)")) < 32
    assert not any(why.is_visible() for why in tab.view.locator(".claim .why").all())
    tab.view.locator(".claim summary").first.click()
    assert tab.view.locator(".claim .why").first.is_visible()
    tab.context.close()


@pytest.mark.parametrize("paper", PAPERS)
def test_paper_is_wide_enough_for_the_trials(browser: Any, published: Path, paper: str) -> None:
    tab = Tab(browser, published.as_uri(), viewport={"width": PAPERS[paper], "height": 1000})
    tab.view.emulate_media(media="print")
    box = tab.view.locator("table.trials").bounding_box()
    assert box["x"] + box["width"] <= PAPERS[paper] + 1
    assert len(re.findall(rb"/Type\s*/Page\b", tab.view.pdf(format=paper))) <= MOST_SHEETS
    tab.context.close()


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext (Debian package poppler-utils) is not there")
@pytest.mark.parametrize("paper", PAPERS)
def test_on_paper_every_trial_can_be_read(browser: Any, published: Path, tmp_path: Path, paper: str) -> None:
    tab = Tab(browser, published.as_uri())
    tab.view.pdf(format=paper, path=tmp_path / "page.pdf")
    ids = tab.view.evaluate("[...document.querySelectorAll('table.trials tr[id]')].map((row) => row.id.slice(6))")
    tab.context.close()
    done = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, check=True)
    # Before the table, claims name their trials, too.
    read = done.stdout.decode().rpartition("All trials")[2]
    assert len(ids) > 30
    assert [digest for digest in ids if digest not in read] == []
