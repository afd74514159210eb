"""The page as text: what it must say, what it must not let through, and that it is the same twice."""

import base64
import hashlib
import html.parser
import itertools
import re

import pytest
from made_page import HOSTILE, small, source
from made_up import cost_record, study_records, train_record, trial

from bench.plan.checkout import ROOT
from bench.store.record import Record, Status
from reports.claims import CLAIMS
from reports.finding import Finding, Verdict
from reports.page import context, render, verdicts
from reports.page.inline import inline

Findings = dict[str, list[Finding]]


class Parsed(html.parser.HTMLParser):
    """Tags, ids, headings and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def ids(self) -> list[str]:
        return [v for _, attributes in self.tags for k, v in attributes.items() if k == "id" and v is not None]


def test_every_claim_is_there_with_its_verdict_or_the_study_that_decides_it(page: str, findings: Findings) -> None:
    for claim in CLAIMS.values():
        assert claim.title in page or f"STUDY={claim.study}" in page
    for name, found in findings.items():
        if not verdicts.fed(found) or CLAIMS[name].by_name:
            continue
        at = page.index(f'<article class="panel claim" id="claim-{name}"')
        shown = re.findall(r'<span class="badge (\w+)">', page[at : page.index("</article>", at)])
        assert set(shown) <= {str(v) for v in Verdict}
        assert str(found[0].verdict) in shown


def test_a_verdict_is_a_word_and_a_symbol_never_colour_alone(page: str) -> None:
    for verdict, symbol in (("supported", "✓"), ("refuted", "✗"), ("inconclusive", "?")):
        for badge in re.findall(rf'<span class="badge {verdict}">(.*?)</span></?', page):
            assert symbol in badge
    assert re.search(r'badge \w+"><span aria-hidden="true">[✓✗?]</span> (supported|refuted|inconclusive)</span>', page)


def test_no_id_twice_and_every_link_inside_leads_somewhere(page: str) -> None:
    parsed = Parsed(page)
    ids = parsed.ids()
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in parsed.tags if tag == "a" and a.get("href")]
    assert targets
    assert all(t is not None and t.startswith("#") and t[1:] in ids for t in targets)
    used = set(re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', page))
    assert used <= set(ids)
    for _, attributes in parsed.tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids


def test_it_asks_for_nothing(page: str) -> None:
    for tag, attributes in Parsed(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, value)
    assert not re.search(r"url\((?!#)|@import|@font-face", page)


def test_the_policy_allows_this_script_and_no_other(page: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"<[^>]* on\w+=", page)
    for name in ("page.js", "figures.js"):
        assert len((ROOT / "reports" / "page" / name).read_text().splitlines()) < 200


def test_headings_go_down_one_level_at_a_time(page: str) -> None:
    levels = [int(tag[1]) for tag, _ in Parsed(page).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_every_figure_has_a_title_and_words(page: str) -> None:
    figures = re.findall(r"<svg (.*?)>(.*?)</svg>", page, re.S)
    assert len(figures) > 10
    for attributes, body in figures:
        assert 'role="img"' in attributes
        assert "aria-labelledby" in attributes
        assert re.match(r'<title id="[^"]+">[^<]+</title><desc id="[^"]+">[^<]{20,}</desc>', body)
    assert "currentColor" in page
    assert "DejaVu Sans'" not in page


def test_every_trial_is_a_row_with_its_failure_and_the_command_that_reruns_it(page: str) -> None:
    table = page[page.index('<table class="trials') :]
    rows = re.findall(r'<tr id="trial-[0-9a-f]{8}" (.*?)</tr>', table[: table.index("</table>")])
    assert len(rows) == 45
    diverged = [row for row in rows if "diverged" in row]
    assert len(diverged) == 6
    assert all("diverged at step 7: loss is nan" in row for row in diverged)
    assert all(re.search(r"python -m bench run made-up --only [0-9a-f]{8} --records rerun", row) for row in rows)
    assert "nan" not in re.sub(r"loss is nan", "", "".join(rows))


def only_failures() -> list[Record]:
    records = [train_record(trial("plain", depth, seed), None) for depth in (18, 66) for seed in range(3)]
    broken = (Status.OUT_OF_MEMORY, Status.TIMEOUT, Status.ERROR)
    records += [
        train_record(trial("resnet", 18, s), status=status, message=f"ended {status}")
        for s, status in enumerate(broken)
    ]
    return [*records, cost_record(trial("plain", 18), Status.ERROR)]


CASES = {
    "no record": [],
    "one record": [train_record(trial())],
    "one cost": [cost_record(trial())],
    "only failures": only_failures(),
    "one depth": study_records(("plain", "resnet"), (18,), range(3)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_half_or_broken_study_has_a_page_all_the_same(case: str) -> None:
    records = CASES[case]
    text = render.page(source(records, planned=records or small()))
    # No section stands empty: a figure, or what would fill it.
    for section in re.findall(r"<section .*?</section>", text, re.S):
        assert re.search(r"<svg|<table|class=\"panel|<details", section), section[:200]
    assert "nan" not in re.sub(r"[Ll]oss is nan", "", " ".join(Parsed(text).text)).lower().split()
    if not records:
        assert "Not run yet" in text
    if case == "only failures":
        assert "ended out_of_memory" in text


def test_hostile_names_are_text(hostile_page: str) -> None:
    text = hostile_page
    parsed = Parsed(text)
    kinds = sorted(dict(a).get("type") or "" for tag, a in parsed.tags if tag == "script")
    assert kinds == ["", "application/json"], "one that runs, and one that is data"
    assert len([1 for tag, _ in parsed.tags if tag == "style"]) == 1
    assert not [1 for tag, a in parsed.tags if tag == "img" or any(name.startswith("on") for name in a)]
    shown = " ".join(parsed.text)
    for name in HOSTILE[:4]:
        assert name in shown
    assert "\u202e" not in text
    assert "‹U+202E›evil" in shown
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", text, re.S)[0]


def test_the_usual_page_is_small(page: str) -> None:
    assert len(page.encode()) < 1.5e6


@pytest.mark.slow
def test_a_thousand_trials_fit_in_five_megabytes() -> None:
    many = study_records(("plain", "resnet"), (18, 66, 258, 1002), range(128), cost=False)
    big = render.page(source(many))
    assert len(many) == 1024
    assert len(big.encode()) < 5e6
    # Thinned is what is drawn, never what is told: every trial is in the table.
    assert len(set(re.findall(r"python -m bench run made-up --only ([0-9a-f]{8})", big))) == 1024


@pytest.mark.parametrize(
    ("days", "said"), [((), ""), ((3, 3), ", 2026-11-03"), ((4, 3, 9), ", 2026-11-03 to 2026-11-09")]
)
def test_machine_says_the_first_day_and_the_last(days: tuple[int, ...], said: str) -> None:
    records = [
        train_record(trial("resnet", 18, seed), started=f"2026-11-{day:02}T07:00:00Z") for seed, day in enumerate(days)
    ]
    name = train_record(trial("resnet", 18, 0)).environment["device_name"] if days else ""
    assert context.machine(source(records).frames) == name + said


def test_inline_keeps_text_and_prefixes_ids_only_in_tags() -> None:
    svg = (
        '<svg viewBox="0 0 100 50" width="1"><defs><path id="a" style="fill: #0072b2"/></defs><g id="unused">'
        '<use xlink:href="#a"/><text style="font-size: 9px; font-family: \'DejaVu Sans\'; fill: none">'
        '#0072b2 id="a"</text></g></svg>'
    )
    out = str(inline(svg, "p", "<t>", "d"))
    assert 'id="p-0" style="fill: var(--c0072b2)"' in out
    assert 'xlink:href="#p-0"' in out
    assert "unused" not in out
    assert '>#0072b2 id="a"<' in out
    assert 'style="font-size: 9px; fill: none"' in out
    assert "&lt;t&gt;" in out


def test_inline_is_the_same_whatever_the_hashes_in_the_ids() -> None:
    """matplotlib's ids are hashes of positions; two processors differ in a position's last bit."""
    clips = '<g clip-path="url(#k1)"/><g clip-path="url(#k2)"/><clipPath id="k1"/><clipPath id="k2"/>'
    svg = f'<svg viewBox="0 0 9 9">{clips}</svg>'
    assert inline(svg.replace("k1", "k9"), "p", "t", "d") == inline(svg, "p", "t", "d")
