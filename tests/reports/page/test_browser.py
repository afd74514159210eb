"""The page in a real browser: looks, keyboard, sorting, copying, accessibility, and that nothing hostile runs.

Needs Debian's chromium and Playwright; skips with the reason where one is absent.
"""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab
from made_page import HOSTILE

pytestmark = pytest.mark.browser

LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}},
    "wide": {"viewport": {"width": 1600, "height": 1000}},
}


@pytest.mark.parametrize("look", LOOKS)
def test_first_screen(browser: Any, address: str, look: str) -> None:
    tab = Tab(browser, address, **LOOKS[look])
    view = tab.view
    width = view.viewport_size["width"]
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.locator("h1").is_visible()
    # The main figure, or its beginning, stands on the first screen, whole in width: the deepest net is seen.
    for panel in view.locator("#main-figure figure").all():
        box = panel.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert panel.locator(".scroll").evaluate("r => r.scrollWidth <= r.clientWidth")
    assert view.locator("#main-figure").bounding_box()["y"] < view.viewport_size["height"] / 2
    matrix = view.locator(".matrix").bounding_box()
    assert matrix["x"] + matrix["width"] <= width
    if look == "wide":
        assert view.locator("header").bounding_box()["height"] <= 900
    ground, ink = view.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark = [sum(map(int, c[4:-1].split(","))) < 3 * 128 for c in (ground, ink)]
    assert dark == [look == "dark", look != "dark"]
    # The figures' text is big enough to be read, if need be by scrolling inside the figure.
    smallest = view.evaluate(
        """() => Math.min(...[...document.querySelectorAll("#main-figure svg text, .claim .small text")]
             .map((t) => t.getBoundingClientRect().height).filter((h) => h > 0))"""
    )
    assert smallest > 7.5
    assert tab.errors == []
    assert tab.requests == [address]
    tab.context.close()


def test_figures_take_the_ink_of_the_page(browser: Any, address: str) -> None:
    inks = []
    for scheme in ("light", "dark"):
        tab = Tab(browser, address, color_scheme=scheme)
        inks.append(tab.view.evaluate("getComputedStyle(document.querySelector('#main-figure svg text')).fill"))
        tab.context.close()
    assert inks[0] != inks[1]


def test_on_paper_everything_is_open_and_nothing_is_cut(tab: Tab) -> None:
    tab.view.emulate_media(media="print", color_scheme="dark")
    assert not tab.view.locator("nav").is_visible()
    assert not tab.view.locator(".tools").is_visible()
    assert tab.view.evaluate("getComputedStyle(document.querySelector('.claim')).color") == "rgb(27, 31, 36)"
    tab.view.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.view.evaluate(
        "[...document.querySelectorAll('main details')].every((d) => d.open || d.matches('.long'))"
    )
    # Buttons in its head would keep a table from repeating the head on each page.
    head = tab.view.locator("table.trials th", has_text="depth")
    assert not head.locator("button").is_visible()
    assert head.evaluate("h => getComputedStyle(h, '::after').content") == '"depth"'
    tab.view.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.view.evaluate("[...document.querySelectorAll('main details')].every((d) => !d.open)")


def test_sorting_by_mouse_and_by_keyboard(tab: Tab) -> None:
    head = tab.view.locator("table.trials th", has_text="training error")
    head.locator("button").click()
    errors = tab.column("training error (%)")
    numbers = [float(e) for e in errors if e != "–"]
    assert numbers == sorted(numbers)
    assert errors[-6:] == ["–"] * 6, "trials without a number come last"
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    tab.view.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    errors = tab.column("training error (%)")
    assert errors[-6:] == ["–"] * 6
    assert float(errors[0]) == max(numbers)
    depth = tab.view.locator("table.trials th", has_text="depth")
    depth.locator("button").focus()
    tab.view.keyboard.press("Space")
    assert tab.column("depth") == sorted(tab.column("depth"), key=int)
    assert head.get_attribute("aria-sort") is None
    assert "Sorted by depth" in tab.view.locator("#said").text_content()


def test_a_wide_table_says_that_it_scrolls_until_it_is_at_its_end(tab: Tab) -> None:
    tab.view.set_viewport_size({"width": 360, "height": 740})
    box = tab.view.locator(".scroll:has(table.trials)")
    words = "getComputedStyle(document.querySelector('.scroll:has(table.trials)'), '::before').content"
    tab.view.locator(".scroll:has(table.trials)[data-more=right]").wait_for()
    assert "scrolls sideways" in tab.view.evaluate(words)
    box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    tab.view.locator(".scroll:has(table.trials)[data-more=none]").wait_for()
    tab.view.set_viewport_size({"width": 2400, "height": 900})
    tab.view.locator(".scroll:has(table.trials):not([data-more])").wait_for()
    assert tab.view.evaluate(words) in ("none", "normal")


def test_who_copies_a_table_gets_the_names_that_commands_take(tab: Tab) -> None:
    search = tab.view.get_by_label("Filter")
    search.fill("resnet 258")
    assert set(tab.column("network")) == {"post-activation"}, "it is found by its key, too"
    tab.view.get_by_role("button", name="Copy as CSV").click()
    tab.view.get_by_role("button", name="Copied").wait_for()
    rows = list(csv.reader(io.StringIO(tab.view.evaluate("navigator.clipboard.readText()"))))
    assert {row[0] for row in rows[1:]} == {"resnet"}


def test_filtering_and_copying_what_is_left(tab: Tab) -> None:
    search = tab.view.get_by_label("Filter")
    search.fill("plain 258")
    assert set(tab.column("network")) == {"plain"}
    assert set(tab.column("depth")) == {"258"}
    assert tab.view.locator(".tools output").text_content() == "3 of 45 trials"
    search.press("Escape")
    assert len(tab.column("depth")) == 45
    tab.view.get_by_label("Status").select_option("diverged")
    assert set(tab.column("status")) == {"diverged"}
    tab.view.get_by_role("button", name="Copy as CSV").click()
    tab.view.get_by_role("button", name="Copied").wait_for()
    rows = list(csv.reader(io.StringIO(tab.view.evaluate("navigator.clipboard.readText()"))))
    assert len(rows) == 1 + 6
    assert rows[0][:4] == ["architecture", "depth", "seed", "status"]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][-2] == "diverged at step 7: loss is nan"
    assert re.fullmatch("[0-9a-f]{8}", rows[1][-1]), "a button's word is no value"


def test_the_keyboard_reaches_verdicts_folds_and_tables(tab: Tab) -> None:
    tab.view.keyboard.press("Tab")
    assert tab.view.evaluate("document.activeElement.textContent") == "Skip to the claims"
    fold = tab.view.locator("#claim-plain-degrades summary").first
    fold.focus()
    tab.view.keyboard.press("Enter")
    assert tab.view.locator("#claim-plain-degrades details").first.evaluate("d => d.open")
    tab.view.get_by_role("button", name="Open all folds").press("Enter")
    assert tab.view.evaluate("[...document.querySelectorAll('main details')].every((d) => d.open)")
    # A region that scrolls can be scrolled without a mouse.
    assert tab.view.evaluate("[...document.querySelectorAll('main .scroll')].every((r) => r.tabIndex === 0)")


def test_without_javascript_nothing_is_missing(browser: Any, address: str) -> None:
    tab = Tab(browser, address, java_script_enabled=False)
    assert tab.view.locator(".claim").count() >= 4
    assert tab.view.locator("table.trials tbody tr").count() == 45
    assert tab.view.locator("main button").count() == 0
    fold = tab.view.locator("#errors details", has_text="The numbers")
    fold.locator("summary").click()
    assert fold.locator("table").is_visible()
    assert tab.errors == []
    tab.context.close()


def test_an_injected_script_is_refused(browser: Any, address: str) -> None:
    """The policy in the page stops what escaping might one day let through."""
    tab = Tab(browser, address)
    tab.view.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hacked = 1";
          document.body.append(script);
          const image = new Image();
          image.src = "https://example.org/x.png";
          document.body.append(image);
        }"""
    )
    tab.view.wait_for_timeout(50)
    assert tab.view.evaluate("window.hacked") is None
    assert len(tab.errors) == 2
    assert all("Content Security Policy" in error for error in tab.errors)
    tab.context.close()


def test_hostile_names_run_nothing_and_are_read_as_they_are(browser: Any, hostile_page: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(hostile_page, encoding="utf-8")
    tab = Tab(browser, path.as_uri())
    assert tab.view.evaluate("window.hacked") is None
    shown = tab.view.locator("body").inner_text()
    for name in HOSTILE[:4]:
        assert name in shown
    assert "\u202e" not in tab.view.content()
    assert tab.view.evaluate("document.images.length") == 0
    assert tab.errors == []
    assert tab.requests == [path.as_uri()]
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Any, address: str, scheme: str) -> None:
    package = pytest.importorskip(
        "axe_playwright_python", reason="axe-playwright-python, which ships axe-core, is absent"
    )
    script = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    tab = Tab(browser, address, color_scheme=scheme)
    tab.view.evaluate(script)
    # All rules, with all folds open, in light; in dark only what a colour can change.
    if scheme == "light":
        tab.view.get_by_role("button", name="Open all folds").click()
    only = "" if scheme == "light" else ", runOnly: ['color-contrast']"
    found = tab.view.evaluate(f"axe.run(document, {{resultTypes: ['violations']{only}}})")["violations"]
    told = [(v["impact"], v["id"], v["nodes"][0]["html"][:120], len(v["nodes"])) for v in found]
    assert [v for v in told if v[0] in ("serious", "critical")] == []
    tab.context.close()
