"""docs/reading.md says what claims, thresholds and commands there are."""

import re

from bench.plan import study as studies
from bench.plan.checkout import ROOT
from reports.claims import CLAIMS
from reports.protocol import DEEP, MARGIN, NOT_TRAINED, TRAINED
from results.stats import LOOKS

TEXT = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")


def test_every_claim_stands_in_the_table_with_the_studies_that_decide_it() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| (.+) \|$", TEXT, re.M)
    # A page shows the claims that its study names; that of digits-all shows all.
    shown = {c.id: [name for name in c.studies if c.id in studies.load(name).claims] for c in CLAIMS.values()}
    assert dict(rows) == {name: ", ".join(found or ["digits-all"]) for name, found in shown.items()}
    assert [name for name, _ in rows] == list(CLAIMS)


def test_thresholds_are_those_of_the_rules() -> None:
    words = re.sub(r"\s+", " ", TEXT)
    assert f"| {100 * MARGIN:.0f} points" in words
    assert f"at most {100 * TRAINED:.0f} % training error; above {100 * NOT_TRAINED:.0f} %" in words
    assert f"never tried at {DEEP} layers or more" in words
    *few, last = map(str, LOOKS)
    assert f"on {', '.join(few)} or {last} seeds" in words


def test_every_command_is_one_that_make_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    typed = set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert typed
    assert typed <= targets
