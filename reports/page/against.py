"""Two folders of records of one study: what differs in the environment, verdicts side by side, and that in words.

Own file because terminal, page and data take the same pairs. It judges nothing: each side is judged by itself, on
its own records. What is trained or measured is paired in `results.against`.
"""

from dataclasses import dataclass
from typing import Any

from bench.plan.words import counted
from reports.claims import CLAIMS, Claim, Finding, Verdict
from reports.page import context, first, verdicts
from reports.page.context import Source
from results import against as pairing
from results.against import CostPair, ErrorPair, LawPair, Shared

# How two verdicts stand to each other, the gravest first.
CONTRADICTS, FLIPS, ELSEWHERE, SAME = "contradicts", "flips", "other setting", "same"
A_ONLY, B_ONLY = "A only", "B only"
STATES = (CONTRADICTS, FLIPS, ELSEWHERE, A_ONLY, B_ONLY, SAME)


def only(a: object, b: object) -> str:
    """Of two sides of which one is None: which is there; empty where both are."""
    return A_ONLY if b is None else B_ONLY if a is None else ""


def alike(a: Finding, b: Finding) -> bool:
    """Whether two findings rest on one setting; where a side has fewer settings, its words name fewer fields."""
    fields = [set(finding.setting.split(", ")) - {""} for finding in (a, b)]
    named = fields[0] <= fields[1] or fields[1] <= fields[0]
    return named and (a.study, a.measure, a.steps) == (b.study, b.measure, b.steps)


@dataclass(frozen=True)
class VerdictPair:
    """What both sides say of one claim and one network (or one finding); None where a side has nothing to judge it by.

    Attributes:
        claim: Its row.
        subject: The network.
        a, b: The findings.
        numbers: What each rests on, in a word.
    """

    claim: Claim
    subject: str
    a: Finding | None
    b: Finding | None
    numbers: tuple[str, str] = ("", "")

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.a is None or self.b is None:
            return only(self.a, self.b)
        if not alike(self.a, self.b):
            return ELSEWHERE
        if self.a.verdict == self.b.verdict:
            return SAME
        return FLIPS if Verdict.INCONCLUSIVE in (self.a.verdict, self.b.verdict) else CONTRADICTS

    @property
    def decided(self) -> bool:
        """Whether both sides decide it, in one setting."""
        return self.state != ELSEWHERE and all(
            side is not None and side.verdict != Verdict.INCONCLUSIVE for side in (self.a, self.b)
        )


@dataclass(frozen=True)
class Against:
    """Two sides of one study.

    Attributes:
        a, b: Study, frames and findings of each side.
        folders: Of each, as the user named them.
        verdicts: By claim and network, the gravest first.
        findings: Every finding of either side, likewise.
        errors, costs, laws, shared: As `results.against` pairs them.
    """

    a: Source
    b: Source
    folders: tuple[str, str]
    verdicts: list[VerdictPair]
    findings: list[VerdictPair]
    errors: list[ErrorPair]
    costs: list[CostPair]
    laws: list[LawPair]
    shared: Shared

    @property
    def labels(self) -> dict[str, str]:
        """By architecture's name, its label on A, else on B."""
        return verdicts.labels(self.b.frames) | verdicts.labels(self.a.frames)

    @property
    def sides(self) -> tuple[Source, Source]:
        """A and B."""
        return self.a, self.b


def against(a: Source, b: Source, folders: tuple[str, str]) -> Against:
    """Pairs everything that two sides have."""
    costs = pairing.costs(a.frames, b.frames)
    return Against(
        a,
        b,
        folders,
        _ordered(_headlines(a, b)),
        _ordered(_every_finding(a, b)),
        pairing.errors(a.frames, b.frames),
        costs,
        pairing.laws(costs),
        pairing.shared(a.frames, b.frames),
    )


# ---- verdicts ---------------------------------------------------------------------------------------------


def _ordered(pairs: list[VerdictPair]) -> list[VerdictPair]:
    return sorted(pairs, key=lambda pair: STATES.index(pair.state))


def _headlines(a: Source, b: Source) -> list[VerdictPair]:
    """By claim and network, the finding that stands for it on each side; of one setting, where both have one."""
    sides: list[dict[tuple[str, str], list[Finding]]] = []
    for source in (a, b):
        names = verdicts.labels(source.frames)
        found: dict[tuple[str, str], list[Finding]] = {}
        for claim, findings in verdicts.judged_here(source.study, source.findings):
            for finding in first.told(findings, names):
                name = first.network(finding)
                others = [f for f in findings if f.subject == finding.subject and f.measure == finding.measure]
                if verdicts.fed([finding]):
                    found[claim.id, name] = [finding, *(f for f in others if f is not finding)]
        sides.append(found)
    pairs = []
    for key in _keys(*sides):
        one, other = _one_setting(*(side.get(key, []) for side in sides))
        pairs.append(VerdictPair(CLAIMS[key[0]], key[1], one, other, (_number(one), _number(other))))
    return pairs


def _one_setting(one: list[Finding], other: list[Finding]) -> tuple[Finding | None, Finding | None]:
    """Of each side's findings, the told one first, two of one setting; the told ones where there are no such."""
    if not one or not other:
        return next(iter(one), None), next(iter(other), None)
    candidates = [(one[0], f) for f in other] + [(f, other[0]) for f in one]
    return next((pair for pair in candidates if alike(*pair)), candidates[0])


def _number(finding: Finding | None) -> str:
    """What a finding rests on, in a word."""
    shown = first.cell([finding], first.network(finding)) if finding is not None else None
    return shown.text if shown else ""


def _every_finding(a: Source, b: Source) -> list[VerdictPair]:
    """By claim, subject, measure, study and setting, the finding of each side."""
    sides: list[dict[tuple[str, ...], Finding]] = []
    for source in (a, b):
        found: dict[tuple[str, ...], Finding] = {}
        for claim, findings in verdicts.judged_here(source.study, source.findings):
            for f in findings:
                if verdicts.fed([f]):
                    found.setdefault((claim.id, f.subject, f.measure, f.study, f.setting), f)
        sides.append(found)
    one, other = sides
    return [VerdictPair(CLAIMS[key[0]], key[1], one.get(key), other.get(key)) for key in _keys(one, other)]


def _keys(one: dict[Any, Any], other: dict[Any, Any]) -> list[Any]:
    """Keys of either, claims in the order of `CLAIMS`, each side's own order within a claim."""
    order = list(CLAIMS)
    return sorted(dict.fromkeys([*one, *other]), key=lambda key: order.index(key[0]))


def flips(pairs: list[VerdictPair]) -> list[VerdictPair]:
    """Those of which the two sides do not say the same."""
    return [pair for pair in pairs if pair.state in (CONTRADICTS, FLIPS)]


# ---- environment ------------------------------------------------------------------------------------------


def environment(pair: Against) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """What differs in machine, versions and dates (label, A, B), and what is equal (label, value).

    Empty where a side's records do not say it.
    """
    sides = [dict(context.machines(source.frames)) for source in pair.sides]
    different, equal = [], []
    for label in context.MACHINE_LABELS:
        one, other = (", ".join(side.get(label, {})) for side in sides)
        if one != other:
            different.append((label, one, other))
        elif one:
            equal.append((label, one))
    days = [context.dates(source.frames) for source in pair.sides]
    # To the minute: "2026-11-26 13:17".
    ends = [dict.fromkeys(at[:16].replace("T", " ") for at in (day[0], day[-1])) if day else () for day in days]
    one, other = (" to ".join(each) for each in ends)
    if one != other:
        different.append(("started", one, other))
    elif one:
        equal.append(("started", one))
    return different, equal


# ---- in words ---------------------------------------------------------------------------------------------


def headline(pair: Against) -> str:
    """The message: how many verdicts flip, of those that both sides give in one setting."""
    both = [p for p in pair.verdicts if p.state not in (A_ONLY, B_ONLY, ELSEWHERE)]
    flipped = len(flips(pair.verdicts))
    if not both:
        return "No verdict is on both sides" if pair.verdicts else "No claim can be judged from these records"
    if not flipped:
        return f"None of {len(both)} verdicts flips" if len(both) > 1 else "The one verdict on both sides does not flip"
    return f"{flipped} of {len(both)} verdict{'s' * (len(both) > 1)} flip{'s' * (flipped == 1)}"


def decided(pair: Against) -> str:
    """How many verdicts are decided on both sides, and how many are on one only; empty where there is none."""
    found = pair.verdicts
    if not found:
        return ""
    words = [f"Decided on both sides: {sum(p.decided for p in found)} of {len(found)}."]
    for states, said in (
        ((ELSEWHERE,), "Judged in two settings, and not compared"),
        ((A_ONLY, B_ONLY), "On one side only"),
    ):
        if count := sum(p.state in states for p in found):
            words.append(f"{said}: {count}.")
    return " ".join(words)


def trained(pair: Against) -> str:
    """How many trainings may be paired, and how many of those ended in the same numbers."""
    shared = pair.shared
    if not (shared.a or shared.b):
        return "Neither side has trainings."
    words = f"{counted(shared.a, 'training')} on A, {shared.b} on B, {shared.both} of them the same trials."
    return f"{words} Identical to the last digit: {shared.identical} of {shared.both}." if shared.both else words


def missing(pair: Against) -> str:
    """How many settings stand on one side only; empty where none does."""
    settings = [p for p in pair.errors if p.measure == "train_error"]
    counted = [
        (sum(p.a is None or p.b is None for p in lot), len(lot), what)
        for lot, what in ((settings, "trained settings"), (pair.costs, "costs"))
    ]
    said = [f"{n} of {of} {what}" for n, of, what in counted if n]
    return f"On one side only, shown as a dash on the other: {' and '.join(said)}." if said else ""


def recipes(pair: Against) -> list[str]:
    """Networks that both sides trained, but not by one recipe, a line each: not compared."""
    lines = []
    for net, fields in pairing.other_recipes(pair.errors):
        told = [f"{name.replace('_', ' ')} {_list(one)} on A, {_list(other)} on B" for name, one, other in fields] or [
            "no trial is on both sides: other seeds, images, probes, another source of the block, or what it reads"
        ]
        several = len({p.recipe.study for p in pair.errors}) > 1
        where = f" ({net.study})" if several else ""
        lines.append(f"{net.architecture}, {net.depth} layers{where}: {'; '.join(told)}")
    return lines


def _list(values: list[object]) -> str:
    return " and ".join(f"{v:.6g}" if isinstance(v, float) else str(v) or "none" for v in values)


def cautions(pair: Against) -> list[str]:
    """What each side's own loading warns of, and records that could not be read."""
    lines = []
    for name, source in zip("AB", pair.sides, strict=True):
        lines += [f"{name}: {line}" for line in source.frames.warnings]
        lines += [f"{name}: {file} cannot be read: {why}" for file, why in source.frames.damaged]
    return lines


DATES = (
    "The timings of two folders were taken on two dates, not by turns: another clock speed or a neighbour changes them,"
    f" too. Only large ratios mean something: what lies between {pairing.LEAST_RATIO:.2g} and {pairing.MOST_RATIO:.3g}"
    " is not told apart from that. To measure two versions by turns: make bench-compare BASE=OTHER_PYTHON"
)
PAIRED = (
    "B − A is the mean over trials that ended on both sides: the same recipe and seed, so the same initial weights and"
    " order of images. In brackets: its two-sided 95 % interval over those pairs, where there are two or more. Each"
    " mean is over its own side's seeds. Of twenty such intervals, one leaves out zero by chance; of a test error they"
    " are about these images alone."
)
