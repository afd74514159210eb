"""What a reader does with the page: goes from a cell to its claim, reads marks, takes figures away, prints."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab

from results.figures import reading

pytestmark = pytest.mark.browser


def test_a_cell_of_the_matrix_opens_its_claim(tab: Tab) -> None:
    assert not tab.view.locator("#claim-plain-degrades details").first.evaluate("d => d.open")
    tab.view.locator(".matrix a.pill[href='#claim-plain-degrades']").first.click()
    tab.view.wait_for_function("document.querySelector('#claim-plain-degrades details').open")
    assert tab.view.get_by_text("the trend test of E. B. Page over depth").first.is_visible()


def test_a_claims_trials_lead_to_their_rows_also_to_those_not_shown_yet(tab: Tab) -> None:
    shown = tab.view.locator("table.trials tbody tr:visible")
    assert shown.count() == 20
    last = tab.view.locator("table.trials tbody tr").last
    assert not last.is_visible()
    tab.view.evaluate("id => { location.hash = id; }", last.get_attribute("id"))
    last.wait_for(state="visible")
    assert shown.count() == 45
    assert tab.view.get_by_role("button", name="Show all").count() == 0


def test_all_trials_are_shown_when_asked_for_and_a_row_gives_its_command(tab: Tab) -> None:
    tab.view.get_by_role("button", name="Show all 45 trials").click()
    row = tab.view.locator("table.trials tbody tr").nth(30)
    row.get_by_role("button").click()
    row.get_by_text("copied").wait_for()
    command = tab.view.evaluate("navigator.clipboard.readText()")
    digest = str(row.get_attribute("id")).removeprefix("trial-")
    assert re.fullmatch(rf"python3? -m bench run made-up --only {digest} --records rerun", command)
    table, room = (tab.view.locator(s).bounding_box()["width"] for s in ("table.trials", "#trials .scroll"))
    assert table <= room, "the table fits"


def test_arrows_read_the_marks_of_a_figure_one_by_one(tab: Tab) -> None:
    region = tab.view.locator("#main-figure .scroll").first
    region.focus()
    tab.view.keyboard.press("ArrowRight")
    tip = tab.view.locator(".tip")
    assert re.fullmatch(r"[\w() -]+, depth 18, training error [\d.]+ %", str(tip.text_content()))
    tab.view.keyboard.press("ArrowLeft")
    assert "depth 1002" in str(tip.text_content())
    assert tip.text_content() == tab.view.locator("#said").text_content()
    tab.view.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_name_in_a_legend_switches_its_network_off_and_on(tab: Tab) -> None:
    figure = tab.view.locator("#figure-test-error-by-depth")
    key = figure.get_by_role("button", name="plain")
    arm = str(key.get_attribute("data-arm"))
    faded = f"[style*='{arm}'].off"
    assert figure.locator(faded).count() == 0
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    assert figure.locator(faded).count() > 3
    key.press("Enter")
    assert key.get_attribute("aria-pressed") == "true"
    assert figure.locator(faded).count() == 0


def test_a_figure_is_taken_away_as_a_picture_and_as_a_table(tab: Tab) -> None:
    figure = tab.view.locator("#figure-step-time")
    with tab.view.expect_download() as saved:
        figure.get_by_role("button", name="CSV of").click()
    assert saved.value.suggested_filename == "made-up-step-time.csv"
    rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text())))
    assert tuple(rows[0]) == reading.HEADS
    assert {row[1] for row in rows[1:]} == {"plain", "post-activation", "pre-activation"}
    with tab.view.expect_download() as saved:
        figure.get_by_role("button", name="SVG of").click()
    text = Path(saved.value.path()).read_text()
    ElementTree.fromstring(text)
    assert "var(" not in text, "a file of its own holds its colours"
    link = figure.get_by_label("Link to")
    assert link.get_attribute("href") == "#figure-step-time"
    with tab.view.expect_download() as saved:
        tab.view.get_by_role("button", name="Data (CSV)").click()
    assert Path(saved.value.path()).read_text().startswith("architecture,depth,")


def screens(browser: Any, address: str) -> float:
    """How many screens a page takes before anything is opened; its first part must fit one."""
    tab = Tab(browser, address, viewport={"width": 1440, "height": 900})
    assert tab.view.evaluate("document.querySelector('header').offsetHeight") <= 900
    height = tab.view.evaluate("document.documentElement.scrollHeight")
    tab.context.close()
    return float(height) / 900


def test_a_page_of_every_claim_takes_at_most_twelve_screens(browser: Any, address: str) -> None:
    assert screens(browser, address) <= 12


@pytest.mark.parametrize(("paper", "width"), [("A4", 794), ("Letter", 816)])
def test_on_paper_nothing_is_cut(browser: Any, address: str, paper: str, width: int) -> None:
    margins = round(2 * 11 / 25.4 * 96)
    tab = Tab(browser, address, viewport={"width": width - margins, "height": 1000})
    tab.view.emulate_media(media="print")
    tab.view.evaluate("dispatchEvent(new Event('beforeprint'))")
    wide = tab.view.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
             && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("svg, .offscreen, .skip"))
             .map((e) => e.tagName + ": " + e.textContent.slice(0, 40))"""
    )
    assert wide == []
    sheets = re.findall(rb"/Type\s*/Page\b", tab.view.pdf(format=paper))
    assert 4 <= len(sheets) <= 16
    tab.context.close()
