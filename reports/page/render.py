"""From findings and frames to one self-contained HTML file: the same records give the same bytes.

The file asks for nothing: no font, no script, no picture from elsewhere. What is said is gathered in
`context` and `first`, markup is in `template.html`, looks in `page.css`, the script in `page.js` and `figures.js`.
"""

import base64
import dataclasses
import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from reports.claims import LOOKED, Claim, Finding
from reports.page import beside, care, context, data, first, survival, verdicts
from reports.page.context import Source
from reports.page.inline import inline, visible
from reports.page.views import Card, Entry, Line, Section
from reports.page.words import NOTHING, effect
from results.figures import cost as cost_figures
from results.figures import errors as error_figures
from results.figures import reading, style
from results.figures import table as figures
from results.figures.ladder import ladder
from results.figures.panels import main_part, notes
from results.tables import Frames, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent

# What happens inside comes first: it explains the errors.
SECTIONS = {
    "inside": "Inside the networks",
    "errors": "More of the errors",
    "curves": "How training went",
    "cost": "What depth costs",
}


def _visible(value: object) -> object:
    """Of every value that reaches the page: control characters of a text written out; markup of ours as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def page(source: Source) -> str:
    """The whole page.

    Args:
        source: Study, frames and findings.

    Returns:
        HTML, in which every user-given text is escaped and no request is made.
    """
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in ("page.js", "figures.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    figures, sections = _pictures(source)
    values = {
        **_said(source),
        "figures": figures,
        "sections": sections,
        **_first(source, figures),
        "script": Markup(script),
        "verdicts": Markup(data.as_json(source)),
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'",
        **inks(),
    }
    return templates().get_template("template.html").render(values)


def templates() -> jinja2.Environment:
    """The markup of every page: what is put into it is escaped, and its control characters are written out."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inks() -> dict[str, Markup]:
    """The architectures' colours on a light and on a dark ground, as variables of CSS."""
    return {name: Markup(_css(colors)) for name, colors in zip(("light", "dark"), style.palette_css(), strict=True)}


def _css(variables: dict[str, str]) -> str:
    return ";".join(f"{name}:{value}" for name, value in variables.items())


def _said(source: Source) -> dict[str, object]:
    """Everything on the page below its first screen that is not a picture of frames."""
    judged = verdicts.judged_here(source.study, source.findings)
    names = verdicts.labels(source.frames)
    trials = context.trial_table(source)
    return {
        "cards": [_card(source, claim, findings) for claim, findings in judged],
        "elsewhere": verdicts.elsewhere(source.study, source.findings, names),
        "trials": trials,
        "trial_ids": {row.id.removeprefix("trial-") for row in trials.rows},
        "cells": context.cell_table(source.frames),
        "costs": context.cost_table(source.frames),
        "environment": context.environment(source.frames),
        "recipe": source.recipe,
        "architectures": context.architectures(source),
        "missing": care.missing(source),
        "warnings": care.warnings(source),
        "cautions": care.in_short(source),
        "document": beside.document(source.frames),
        "published": beside.published(source.frames),
        "looks": LOOKED,
        "planted": beside.planted(),
        "rerun": shlex.join([source.python, "-m", "bench", "run", source.argument]),
        "cite": context.cite(source),
    }


def _first(source: Source, drawn: dict[str, Entry]) -> dict[str, object]:
    """The first screen: message, main figure, claims by networks, facts."""
    judged = verdicts.judged_here(source.study, source.findings)
    names = verdicts.labels(source.frames)
    main, words = _main(source, judged, names, drawn)
    return {
        "headline": first.headline(source, judged, names),
        "title": source.study.title,
        "one_rate": context.one_rate(source),
        "alone": verdicts.alone(source.study),
        "study": source.study.name,
        "description": source.study.description,
        "machine": context.machine(source.frames),
        "facts": context.facts(source),
        "matrix": first.matrix(judged, names),
        "survival": survival.table(source, judged),
        "limits": verdicts.limits(judged),
        "main": main,
        "main_words": words,
    }


_LADDER = (
    "The share of training images that the finished net gets wrong. A mark is a net (one seed); lines join the means of"
    " those that ended; depth has a logarithmic axis."
)
_APART = "Panels differ in steps: do not rank nets across them."


def _main(
    source: Source, judged: first.Judged, names: dict[str, str], drawn: dict[str, Entry]
) -> tuple[list[Entry], str]:
    """The main figure, of the claim that the message is about: where it is about errors, its settings side by side."""
    about = first.message_claim(judged)
    if about is not None and about[0].glance == "table" and drawn["designs"].svg:
        return _again(drawn["designs"])
    if about is not None and about[0].glance == "costs" and drawn["step-time"].svg:
        return _again(drawn["step-time"])
    if not judged and drawn["document-curve"].svg:
        return _again(drawn["document-curve"])
    panels = first.panels(source.frames, judged, names)
    if about is not None and about[0].glance == "judged":
        figure = verdicts.picture(about[1], names)
        if figure is not None:
            title = f"{about[0].title}: the numbers judged"
            return [_entry(figure, "main-0", title, _judged_words(about[1], names))], title + "."
    part = main_part(source.frames)
    if not panels and part is not None:
        panels = [(first.after(part[1]), part[1], part[2])]
    entries: list[Entry] = []
    explained: dict[str, None] = {}
    for i, (title, trials, cells) in enumerate(panels):
        part_frames = dataclasses.replace(source.frames, trials=trials, cells=cells)
        words = f"{title}. {context.error_words(part_frames, 'train_error')}"
        figure = ladder(trials, cells, title, (4.8 if len(panels) == 1 else 4.3, 3.9))
        entries.append(_entry(figure, f"main-{i}", f"Training error against depth, {title}", words))
        explained.update(dict.fromkeys(notes(figure)))
    if not entries:
        return [], ""
    return entries, " ".join([_LADDER, *explained, *([_APART] if len(entries) > 1 else [])])


def _again(entry: Entry) -> tuple[list[Entry], str]:
    """A figure from further down the page as its main figure, with ids of its own."""
    svg = Markup(str(entry.svg).replace(f"fig-{entry.name}", "fig-main-0"))
    return [dataclasses.replace(entry, name="main-0", svg=svg)], entry.words


def _entry(figure: "Figure | None", name: str, title: str, words: str) -> Entry:
    """A figure as the template takes it: the picture, what it says in words, and what it draws as CSV."""
    svg = None if figure is None else _svg(figure, f"fig-{name}", title, words)
    csv = "" if figure is None else reading.table(figure)
    wide = figure is not None and figure.get_figwidth() > WIDE
    return Entry(name, title, svg, csv, words, wide)


def _card(source: Source, claim: Claim, findings: list[Finding]) -> Card:
    """A claim: what it says of each network in a line, and all its findings behind a fold."""
    names = verdicts.labels(source.frames)
    views = [verdicts.finding_view(finding, names, source.study.name) for finding in findings]
    told = first.told(findings, names)
    # Of a table of designs the first screen shows the numbers; as many panels as designs would be too small to read.
    figure = None if claim.glance == "table" else verdicts.picture(findings, names)
    title = f"{claim.title}: the numbers judged"
    judged = None if figure is None else _entry(figure, f"judged-{claim.id}", title, _judged_words(findings, names))
    return Card(
        claim,
        told=[_line(source, finding, names) for finding in told],
        views=views,
        figures=[name for name in claim.figures if name != HERO],
        small=_small(source.frames, claim, [*told, *(f for f in findings if f not in told)]),
        judged=judged,
        change=verdicts.what_would_change(claim, findings, source.study.name),
    )


def _line(source: Source, finding: Finding, names: dict[str, str]) -> Line:
    """A finding on one line."""
    view, number = verdicts.finding_view(finding, names, source.study.name), effect(finding.but(low=None, high=None))
    word = first.in_a_word(finding)
    _, bracket, rest = view.effect.partition("[")
    interval = f"{bracket}{rest.partition(']')[0]}]" if bracket else ""
    return Line(view, number or word.replace(NOTHING, ""), interval)


def _judged_words(findings: list[Finding], names: dict[str, str]) -> str:
    """A figure of judged numbers in words: of the findings drawn, and of no other."""
    views = [verdicts.finding_view(finding, names) for finding in verdicts.drawn(findings)]
    return " ".join(f"{view.subject}, {view.measure}: {view.verdict}. {view.reason}" for view in views)


def _svg(figure: "Figure", prefix: str, title: str, words: str) -> Markup:
    return inline(style.svg(figure), prefix, title, words)


def _small(frames: Frames, claim: Claim, findings: list[Finding]) -> Markup | None:
    """A card's figure: the errors or costs themselves where the claim is about them, else the judged numbers."""
    if claim.glance == "table":
        return None
    if claim.glance == "costs":
        figure = cost_figures.small_cost(frames)
        words = context.cost_words(cost_figures.cost_part(frames), "step_time_s", 1.0, "s per step")
    elif claim.glance == "errors":
        column = "test_error" if findings[0].measure == "test_error" else "train_error"
        arms = claim.arms
        frames = _judged(frames, [f for f in findings if f is findings[0] or f.subject in arms])
        figure = error_figures.small_errors(frames, arms, column)
        words = context.error_words(frames, column, arms)
    else:
        names = verdicts.labels(frames)
        figure = verdicts.picture(findings, names, small=True)
        words = _judged_words(findings, names)
    return None if figure is None else _svg(figure, f"card-{claim.id}", f"{claim.title}: the data at a glance", words)


def _judged(frames: Frames, findings: list[Finding]) -> Frames:
    """Only the trials that the headline and its like in the same study rest on; all where it has none."""
    head = findings[0]
    alike = [f for f in findings if (f.study, f.setting, f.measure) == (head.study, head.setting, head.measure)]
    trials = frames.trials[frames.trials["digest"].isin({digest for f in alike for digest in f.trials})]
    return frames if trials.empty else dataclasses.replace(frames, trials=trials, cells=summarize(trials))


# Inches beyond which a figure takes a row of the page for itself.
WIDE = 5.0


# Stands on the first screen, setting by setting.
HERO = "train-error-by-depth"

# Figures that show one setting of many: of the study that decides what the message says.
_OF_ONE = ("test-error-by-depth", "loss-curves", "accuracy-price", "gradient-norms")


def _deciding(frames: Frames, panels: list[first.Panel]) -> Frames:
    """Of a study of studies, the trials of the one that the main figure is of; all where it has one or none."""
    if not panels:
        return frames
    study = panels[0][1]["study"].iloc[0]
    trials, cells = (rows[rows["study"] == study] for rows in (frames.trials, frames.cells))
    return dataclasses.replace(frames, trials=trials, cells=cells)


def _but_shown(frames: Frames, panels: list[first.Panel]) -> Frames:
    """Without the settings that stand on the first screen, the main part aside: no figure is drawn twice."""
    shown = {digest for _, trials, _ in panels for digest in trials["digest"]}
    part = main_part(frames)
    shown -= set() if part is None else set(part[1]["digest"])
    return dataclasses.replace(frames, trials=frames.trials[~frames.trials["digest"].isin(shown)])


def _pictures(source: Source) -> tuple[dict[str, Entry], list[Section]]:
    """Every figure drawn once, by name, and the sections that they stand in."""
    drawn: dict[str, Entry] = {}
    judged = verdicts.judged_here(source.study, source.findings)
    panels = first.panels(source.frames, judged, verdicts.labels(source.frames))
    parts = dict.fromkeys(_OF_ONE, _deciding(source.frames, panels))
    parts["other-settings"] = _but_shown(source.frames, panels)
    for name, chart in figures.FIGURES.items():
        if name == HERO:
            continue
        frames = parts.get(name, source.frames)
        figure = chart.draw(frames)
        entry = _entry(figure, name, chart.title, _words(frames, name, figures.caption(name, figure)))
        note = error_figures.protocol_note(frames) if name == "test-error-by-depth" else ""
        drawn[name] = dataclasses.replace(entry, note=note, chart=chart)
    sections = [
        Section(key, title, [drawn[name] for name in drawn if figures.FIGURES[name].section == key])
        for key, title in SECTIONS.items()
    ]
    return drawn, sections


def _words(frames: Frames, name: str, caption: str) -> str:
    """What a figure shows, in words, for those who cannot see it; and how to read it."""
    if name == "test-error-by-depth":
        return f"{context.error_words(frames, 'test_error')} {caption}"
    for figure, column, factor, unit in (
        ("step-time", "step_time_s", 1.0, "s"),
        ("peak-memory", "net_memory_bytes", 2.0**-20, "MiB for the net"),
        ("energy", "energy_j_per_step", 1.0, "J"),
        ("roofline", "roof_share", 100.0, "% of the ceiling"),
    ):
        if figure == name:
            part = (cost_figures.roofline_part if name == "roofline" else cost_figures.cost_part)(frames)
            return f"{context.cost_words(part, column, factor, unit)} {caption}"
    return caption
