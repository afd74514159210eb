"""The page of two folders of records side by side: one self-contained HTML file, without figures and script.

Own file beside `render`, as `against` is beside `context`. The same records and folder names give the same bytes.
"""

import math
from dataclasses import replace

from reports.page import against, context, first, render, verdicts
from reports.page.against import Against, VerdictPair
from reports.page.views import Pair, Table
from reports.page.words import NOTHING, listed, number, percent
from results import against as pairing
from results.against import CostPair, ErrorPair, Mean, Taken
from results.stats import Estimate

_HEADS = {"train_error": "Training error", "test_error": "Test error"}


def page(pair: Against) -> str:
    """The whole page.

    Returns:
        HTML, in which every user-given text is escaped and no request is made.
    """
    different, equal = against.environment(pair)
    values = {
        **render.inks(),
        "policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        "study": pair.a.study.name,
        "title": pair.a.study.title,
        "headline": against.headline(pair),
        "decided": against.decided(pair),
        "trained": against.trained(pair),
        "missing": against.missing(pair),
        "recipes": against.recipes(pair),
        "cautions": against.cautions(pair),
        "sides": sides(pair),
        "different": [(label, one or NOTHING, other or NOTHING) for label, one, other in different],
        "equal": equal,
        "verdicts": [_view(each, pair) for each in pair.verdicts],
        "findings": _findings(pair),
        "errors": [(head, errors(pair, measure)) for measure, head in _HEADS.items() if pair.errors],
        "paired": against.PAIRED,
        "costs": costs(pair),
        "laws": laws(pair),
        "dates": against.DATES,
    }
    return render.templates().get_template("against.html").render(values)


def sides(pair: Against) -> list[tuple[str, str, str]]:
    """Of each side its letter, folder and machine."""
    return [
        (name, folder, context.machine(source.frames) or "no records")
        for name, folder, source in zip("AB", pair.folders, pair.sides, strict=True)
    ]


# ---- verdicts ---------------------------------------------------------------------------------------------


def _view(each: VerdictPair, pair: Against) -> Pair:
    """A claim and network as a row: what each side says."""
    shown = []
    for finding, said in zip((each.a, each.b), each.numbers, strict=True):
        view = verdicts.finding_view(finding, pair.labels, pair.a.study.name) if finding is not None else None
        if view is not None:
            judged = ", ".join(filter(None, (view.where, view.basis)))
            view = replace(view, effect=view.effect or said.strip(NOTHING), judged=judged)
        shown.append(view)
    differs = each.state in (against.CONTRADICTS, against.FLIPS, against.ELSEWHERE)
    return Pair(each.claim, verdicts.subject(each.subject, pair.labels), each.state, differs, shown)


def _findings(pair: Against) -> Table:
    """Every finding of either side, as a table."""
    rows = []
    for each in pair.findings:
        told = [verdicts.finding_view(f, pair.labels) if f is not None else None for f in (each.a, each.b)]
        about = next(view for view in told if view is not None)
        said = [f"{v.symbol} {v.verdict} {v.effect}".strip() if v is not None else NOTHING for v in told]
        rows.append([each.claim.id, about.subject, about.measure, about.where, *said, each.state])
    return Table(["claim", "network", "measure", "setting", "A", "B", "B against A"], rows)


# ---- numbers ----------------------------------------------------------------------------------------------


def error_cell(mean: Mean | None) -> str:
    """A mean in percent, with how many seeds ended; what became of them where none did; a dash for no trial."""
    if mean is None:
        return NOTHING
    if not mean.ended:
        return f"{'diverged' if mean.diverged == mean.seeds else 'failed'} ({mean.seeds})"
    return f"{percent(mean.value)} ({mean.ended}{f' of {mean.seeds}' if mean.ended < mean.seeds else ''})"


def apart_cell(apart: Estimate) -> str:
    """A difference in points, with its interval where there is one; a dash where nothing may be compared."""
    if not math.isfinite(apart.value):
        return NOTHING
    ends = f" [{_points(apart.low)}, {_points(apart.high)}]" if apart.estimable else ""
    return f"{_points(apart.value)}{ends}"


def _points(value: float) -> str:
    shown = f"{100 * value:+.2f}"
    return "0.00" if float(shown) == 0 else shown.replace("-", "−")


def error_note(pair: ErrorPair) -> str:
    """Why there is no difference or no interval, or what is to be seen."""
    words = []
    if pair.ends_differ:
        words.append(f"{pair.ends_differ} of {pair.pairs} failed on one side only")
    if pair.identical:
        words.append("identical")
    elif alone := against.only(pair.a, pair.b):
        words.append(alone)
    elif pair.apart.reason and pair.apart.reason != "no values":
        words.append(pair.apart.reason)
    elif pair.apart.estimable and pair.differs and not pair.ends_differ:
        words.append("differs")
    return "; ".join(words)


def errors(pair: Against, measure: str) -> Table:
    """An error of every setting on both sides, as a table."""
    lot = [each for each in pair.errors if each.measure == measure]
    words = pairing.setting_words([each.recipe for each in lot])
    several = len({each.recipe.study for each in lot}) > 1
    rows = []
    for each, setting in zip(lot, words, strict=True):
        net = [first.called(each.recipe.architecture, pair.labels), str(each.recipe.depth)]
        setting = ", ".join(filter(None, (each.recipe.study if several else "", setting)))
        cells = [error_cell(each.a), error_cell(each.b), apart_cell(each.apart), str(each.pairs) if each.pairs else ""]
        rows.append([*net, *([setting] if several or any(words) else []), *cells, error_note(each)])
    heads = ["network", "layers", *(["setting"] if several or any(words) else []), "A in % (seeds)", "B in % (seeds)"]
    return Table([*heads, "B − A in points", "pairs", "note"], rows)


def varied(pairs: list[CostPair]) -> list[str]:
    """What tells costs apart beside network and depth: batch and precision always, all else where it differs."""
    always = ("batch_size", "precision")
    names = [n for n in pairs[0].setting.fields if n not in (*always, "architecture", "depth")] if pairs else []
    return [*always, *(n for n in names if len({pair.setting.fields[n] for pair in pairs}) > 1)]


def cost_cell(taken: Taken | None, measure: str, factor: float) -> str:
    """A cost in its unit, or how its measurement ended; a dash for none."""
    if taken is None:
        return NOTHING
    return number(factor * taken.values[measure], 4) if taken.status == "ok" else taken.status.replace("_", " ")


def ratio_cell(ratio: float) -> str:
    """B / A, two digits behind the point."""
    return f"{ratio:.2f}" if math.isfinite(ratio) else NOTHING


MEBI = 2.0**-20


def costs(pair: Against) -> Table:
    """Step time and peak memory of every measured network on both sides, as a table."""
    names, rows = varied(pair.costs), []
    for each in pair.costs:
        net = [first.called(each.setting.architecture, pair.labels), str(each.setting.depth)]
        cells = [*net, *(str(each.setting.fields[n]) for n in names)]
        for measure, factor in (("step_time_s", 1e3), ("peak_memory_bytes", MEBI)):
            cells += [cost_cell(side, measure, factor) for side in (each.a, each.b)]
            cells.append(ratio_cell(each.ratio(measure)))
        rows.append([*cells, cost_note(each)])
    heads = ["network", "layers", *(n.replace("_", " ") for n in names), "step, A (ms)", "step, B (ms)", "B / A"]
    return Table([*heads, "peak memory, A (MiB)", "B (MiB)", "B / A", "note"], rows)


def cost_note(each: CostPair) -> str:
    """Whether a ratio is large, which side is alone, and what was disturbed."""
    words = ["large ratio"] if pairing.large(each.ratio("step_time_s")) else []
    words += [only] if (only := against.only(each.a, each.b)) else []
    sides = zip("AB", (each.a, each.b), strict=True)
    words += [f"{name} disturbed: {side.disturbed}" for name, side in sides if side is not None and side.disturbed]
    return "; ".join(words)


def slope_cell(slope: Estimate) -> str:
    """Milliseconds per layer with their interval, or why there are none."""
    if not slope.estimable:
        return slope.reason
    value, low, high = (number(1e3 * v) for v in (slope.value, slope.low, slope.high))
    return f"{value} [{low}, {high}]"


def laws(pair: Against) -> Table:
    """Time a layer of every network that both sides measured at enough depths for a line, as a table."""
    names = varied(pair.costs)
    rows = [
        [
            first.called(law.setting.architecture, pair.labels),
            *(str(law.setting.fields[n]) for n in names),
            listed(law.depths),
            slope_cell(law.a),
            slope_cell(law.b),
            ratio_cell(law.ratio),
        ]
        for law in pair.laws
        if law.a.estimable or law.b.estimable
    ]
    heads = ["network", *(n.replace("_", " ") for n in names), "depths of both", "A (ms per layer)", "B (ms per layer)"]
    return Table([*heads, "B / A"], rows)


def called(each: VerdictPair, pair: Against) -> str:
    """The network in a word or two."""
    return first.called(each.subject, pair.labels)
