"""The page of two folders of records: whole, narrow enough for a phone, and nothing that a record says is markup."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab
from made_page import HOSTILE, hostile, source
from made_up import study_records

from reports.claims import CLAIMS, Finding, Verdict
from reports.page import against, against_data, against_page
from reports.page.against import Against, VerdictPair


@pytest.fixture(scope="module")
def pair() -> Against:
    one = source(study_records(("plain", "resnet", "preact"), (18, 66, 258, 1002), range(3)))
    newer = {"torch": "2.16.0+cu140", "device_name": "Another processor with a rather long name @ 2.40 GHz"}
    records = study_records(("plain", "resnet"), (18, 66, 258), range(2))
    other = source([dataclasses.replace(r, environment=r.environment | newer) for r in records])
    return against.against(one, other, ("results/records", "/a/folder/with/a/long/name/of/another/machine/results"))


def test_the_same_records_give_the_same_bytes(pair: Against) -> None:
    assert against_page.page(pair) == against_page.page(pair)
    assert "nan" not in re.sub(r"<style>.*?</style>", "", against_page.page(pair), flags=re.S).lower().split()


def test_what_a_side_lacks_is_a_dash_and_is_counted(pair: Against) -> None:
    table = against_page.errors(pair, "train_error")
    rows = {(row[0], row[1]): row for row in table.rows}
    at = table.heads.index("B in % (seeds)")
    assert rows["pre-activation", "18"][at] == "–"
    assert rows["post-activation", "1002"][at] == "–"
    assert rows["plain", "258"][at] == "diverged (2)"
    assert rows["post-activation", "18"][at].endswith("(2)")
    assert "6 of 12 trained settings and 6 of 12 costs" in against.missing(pair)


def test_rows_have_one_form(pair: Against) -> None:
    rows = against_data.rows(pair)
    assert {tuple(row) for row in rows} == {against_data.COLUMNS}
    assert {row["part"] for row in rows} == {"environment", "verdict", "finding", "error", "cost", "law"}
    assert len(against_data.table(pair)) == len(rows)


def test_verdicts_of_two_settings_are_no_flip() -> None:
    """A net that trains after 660 steps and not after 220 says nothing of the machine."""
    yes = Finding("thousand-layers", "resnet", "train_error", Verdict.SUPPORTED, "", steps=220, study="digits")
    no, open_ = yes.but(verdict=Verdict.REFUTED), yes.but(verdict=Verdict.INCONCLUSIVE)
    states = [
        VerdictPair(CLAIMS["thousand-layers"], "resnet", a, b).state
        for a, b in (
            (yes, yes), (yes, open_), (open_, yes), (yes, no), (yes, no.but(steps=660)),
            (yes, yes.but(study="digits-long")),
            (yes.but(setting="epochs 10, lr 0.1"), no.but(setting="lr 0.1")),
            (yes.but(setting="epochs 10, lr 0.1"), no.but(setting="epochs 10, lr 0.2")), (yes, None), (None, yes),
        )
    ]  # fmt: skip
    assert states == [
        *("same", "flips", "flips", "contradicts", "other setting", "other setting"),
        *("contradicts", "other setting", "A only", "B only"),
    ]
    assert not VerdictPair(CLAIMS["thousand-layers"], "resnet", yes, no.but(steps=660)).decided
    assert VerdictPair(CLAIMS["thousand-layers"], "resnet", yes, no).decided


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(pair: Against, browser: Any, tmp_path: Path, width: int, scheme: Any) -> None:
    path = tmp_path / "against.html"
    path.write_text(against_page.page(pair), encoding="utf-8")
    tab = Tab(browser, path.as_uri(), viewport={"width": width, "height": 800}, color_scheme=scheme)
    view = tab.view
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    # What differs, and the verdicts, are read without scrolling sideways.
    for name in ("environment", "verdicts"):
        assert view.locator(f"#{name} .scroll").first.evaluate("r => r.scrollWidth <= r.clientWidth")
    assert view.locator("h1").is_visible()
    assert view.locator("#environment").bounding_box()["y"] < view.locator("#verdicts").bounding_box()["y"]
    view.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.errors == []
    assert tab.requests == [path.as_uri()]
    tab.context.close()


@pytest.mark.browser
def test_axe_finds_no_serious_violation(pair: Against, browser: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is absent")
    path = tmp_path / "against.html"
    path.write_text(against_page.page(pair), encoding="utf-8")
    tab = Tab(browser, path.as_uri())
    tab.view.evaluate((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.view.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    tab.context.close()


@pytest.mark.browser
def test_hostile_names_run_nothing_and_are_read_as_they_are(browser: Any, tmp_path: Path) -> None:
    evil = hostile()
    pair = against.against(evil, source(study_records(("resnet",), (18,), range(2))), (HOSTILE[0], HOSTILE[4]))
    path = tmp_path / "hostile.html"
    path.write_text(against_page.page(pair), encoding="utf-8")
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
