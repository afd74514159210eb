"""The table of what was found, and README's picture, say what the published records say."""

import made_page
import pytest
from made_up import study_records

from bench.plan.checkout import ROOT
from reports import __main__ as command_line
from reports.found import inserted, table
from reports.page import verdicts
from reports.page.picture import picture


def test_table_and_picture_are_those_of_the_published_records(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    published = command_line.published_pages()
    sources = [command_line.gather(name, command_line.PUBLISHED_RECORDS, machine) for name, machine, _ in published]
    both = [(found, page.name) for found, (_, _, page) in zip(sources, published, strict=True)]
    made = table(both)
    assert (command_line.PUBLISHED_PAGES / "ladder.png").read_bytes() == picture(both)
    page = command_line.FOUND.read_text("utf-8")
    assert inserted(page, made) == page
    for found, (_, _, target) in zip(sources, published, strict=True):
        judges = bool(verdicts.judged_here(found.study, found.findings))
        assert (f"../reports/published/{target.name})" in made) == judges


def test_a_row_names_claim_network_study_steps_seeds_and_rate():
    source = made_page.source(study_records(("plain", "resnet"), (18, 66, 258)))
    rows = table([(source, "mine.html")]).splitlines()
    (row,) = [row for row in rows if row.startswith("| residual-no-harm | post-activation |")]
    assert row.startswith(
        "| residual-no-harm | post-activation | [made-up](../reports/published/mine.html) | 55 | 3 | one: 0.05 |"
    )


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no training errors of study 'fashion-mnist-ladder'"):
        picture([(made_page.source(study_records(("plain", "resnet"), (18, 66))), "mine.html")])


def test_a_page_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="no place for the table"):
        inserted("# What was found", "| a |")
