"""Judges what depth costs: time, memory, arithmetic and energy as a straight line in depth.

Apart from `rules` since nothing is trained here: points are depths, not seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.finding import LOGARITHMS, CostRow, Finding, FitRow, Verdict
from reports.judges.errors import Deciding, nothing
from reports.protocol import DEEP, FLAT, NEVER
from results import lines
from results.columns import COST_SETTING
from results.metrics import METRICS
from results.tables import Frames, one_each

CLAIM = "cost-grows"

# What must grow with depth; the first is the headline. Throughput falls, so its log-log slope is what is judged.
GROWING = ("step_time_s", "net_memory_bytes", "flops_per_image", "inference_time_s", "energy_j_per_step")
FALLING = "images_per_s"

SUBJECTS = ("resnet", "preact", "plain")

# Shown with three digits in these units instead of the stored ones.
_SHOWN = {"s": (1e3, "ms"), "B": (2**-20, "MiB"), "FLOP/image": (1e-6, "MFLOP/image"), "J": (1.0, "J")}


def line(subject: str, measure: str, depths: Sequence[float], values: Sequence[float]) -> Finding:
    """Whether a cost grows with depth: a + b x depth with b above zero, fitted by relative error.

    Supported: the 95 % interval of b lies above zero, and that of the log-log slope above `FLAT`. Refuted: b's lies at
    or below zero, or the log-log slope's under `FLAT`.

    Args:
        depths, values: One per depth.
    """
    base = Finding(CLAIM, subject, measure, Verdict.INCONCLUSIVE, "", n=len(depths), unit=METRICS[measure].unit)
    fit = lines.relative_line(depths, values)
    power = lines.log_line(depths, values)
    rows = _points(depths, values)
    base = base.but(details=rows)
    if not len(depths) or max(depths) < DEEP:
        return base.but(reason=f"{NEVER} measured at {DEEP} layers or more")
    if not fit.slope.estimable:
        flat = fit.slope.reason == "all values are equal"
        return base.but(reason="the same at every depth: nothing to fit" if flat else fit.slope.reason)
    scale, unit = _SHOWN[METRICS[measure].unit]
    # Rounding of an exact law through the origin is no intercept.
    intercept = fit.intercept if abs(fit.intercept) > 1e-9 * max(values) else 0.0
    told = (
        f"{scale * intercept:.3g} {unit} {'-' if fit.slope.value < 0 else '+'} "
        f"{scale * abs(fit.slope.value):.3g} {unit} per layer "
        f"({scale * fit.slope.low:.3g} to {scale * fit.slope.high:.3g}), R² = {fit.r2:.4f}"
    )
    if power.slope.estimable:
        told += f", log-log slope {power.slope.value:.2f} ({power.slope.low:.2f} to {power.slope.high:.2f})"
    base = base.but(effect=fit.slope.value, low=fit.slope.low, high=fit.slope.high, unit=f"{base.unit}/layer",
                    details=(*rows, *_fits(fit, power)))  # fmt: skip
    steep = power.slope.estimable and power.slope.low > FLAT
    if fit.slope.low > 0 and steep:
        return base.but(verdict=Verdict.SUPPORTED, reason=f"{METRICS[measure].label}: {told}")
    if fit.slope.high <= 0 or (power.slope.estimable and power.slope.high < FLAT):
        return base.but(verdict=Verdict.REFUTED, reason=f"{METRICS[measure].label} does not grow: {told}")
    return base.but(reason=f"{METRICS[measure].label}: the interval does not exclude flat: {told}")


def _points(depths: Sequence[float], values: Sequence[float]) -> tuple[CostRow, ...]:
    return tuple(CostRow(depth=int(d), value=float(v)) for d, v in zip(depths, values, strict=True))


def _fits(fit: lines.Line, power: lines.Line) -> list[FitRow]:
    lines = (("a + b x depth", fit), (LOGARITHMS, power))
    return [FitRow(fit=name, a=line.intercept, b=line.slope.value, r2=line.r2) for name, line in lines]


def throughput(subject: str, depths: Sequence[float], values: Sequence[float]) -> Finding:
    """Whether images per second fall with depth: the log-log slope under -`FLAT`."""
    base = Finding(CLAIM, subject, FALLING, Verdict.INCONCLUSIVE, "", n=len(depths), unit="log-log slope")
    base = base.but(details=_points(depths, values))
    if not len(depths) or max(depths) < DEEP:
        return base.but(reason=f"{NEVER} measured at {DEEP} layers or more")
    power = lines.log_line(depths, values).slope
    if not power.estimable:
        return base.but(reason=power.reason)
    base = base.but(effect=power.value, low=power.low, high=power.high)
    ends = f"{values[0]:.4g} images/s at {depths[0]:g} layers, {values[-1]:.4g} at {depths[-1]:g}"
    told = f"{ends}: log-log slope {power.value:.2f}"
    if power.high < -FLAT:
        return base.but(verdict=Verdict.SUPPORTED, reason=told)
    return base.but(verdict=Verdict.REFUTED if power.low > -FLAT else Verdict.INCONCLUSIVE, reason=told)


def judge(frames: Frames, deciding: Deciding) -> list[Finding]:
    """Findings by architecture and measure, residual first; out-of-memory depths are named, never fitted."""
    cost = deciding.rows(frames.cost[frames.cost["comparable"]])
    found: list[Finding] = []
    series = _series(cost[cost["architecture"].isin(SUBJECTS)])
    for subject in SUBJECTS:
        for study, setting, lot in series:
            rows = lot[lot["architecture"] == subject]
            if rows.empty:
                continue
            ok = rows[rows["status"] == "ok"].sort_values("depth")
            for measure in (*GROWING[:2], FALLING, *GROWING[2:]):
                known = ok[np.isfinite(ok[measure])]
                if known.empty and measure not in GROWING[:2]:
                    continue
                depths, values = known["depth"].tolist(), known[measure].tolist()
                if measure == FALLING:
                    finding = throughput(subject, depths, values)
                else:
                    finding = line(subject, measure, depths, values)
                if measure == "net_memory_bytes" and finding.effect is not None:
                    finding = finding.but(reason=f"{finding.reason}{_FLOOR}")
                failed = rows[rows["status"] != "ok"].sort_values("depth")
                if not failed.empty:
                    ends = ", ".join(f"{d} layers: {s}" for d, s in zip(failed["depth"], failed["status"], strict=True))
                    finding = finding.but(reason=f"{finding.reason}; not measured: {ends}")
                if hurt := _disturbed(known, measure):
                    finding = finding.but(reason=f"{finding.reason}; disturbed while measured: {hurt}")
                if measure == "step_time_s" and finding.effect is not None:
                    finding = finding.but(reason=f"{finding.reason}{_bound_by(known)}")
                found.append(finding.but(study=study, setting=setting, trials=tuple(sorted(known["digest"]))))
    if not any(f.subject == "resnet" for f in found):
        found.insert(0, nothing(CLAIM, "resnet", deciding.study, bool(found), "step_time_s"))
    return found


# A process is some hundred MiB before it has a net, and not always the same.
_FLOOR = "; what was in use before its net was built is taken off each peak"


def _disturbed(known: pd.DataFrame, measure: str) -> str:
    """The depths whose measurement is in doubt, in words; FLOPs are counted, not measured."""
    timed = METRICS[measure].unit in ("s", "images/s", "J")
    column = "times_disturbed" if timed else "memory_disturbed" if measure == "net_memory_bytes" else ""
    return ", ".join(f"{d} layers" for d in sorted(known.loc[known[column], "depth"])) if column else ""


def _bound_by(cost: pd.DataFrame) -> str:
    """How much of a step the arithmetic would take at the machine's best matrix-multiply rate, shallow and deep.

    The rest is memory traffic, launches and dispatch: what a launch-bound net pays.
    """
    share = (cost["arithmetic_time_s"] / cost["step_time_s"]).to_numpy()
    if not np.isfinite(share).all():
        return ""
    ends = zip(cost["depth"].iloc[[0, -1]], share[[0, -1]], strict=True)
    told = " and ".join(f"{100 * value:.3g} % of it at {depth} layers" for depth, value in ends)
    return f"; at the machine's best matrix-multiply rate its arithmetic would take {told}"


def _series(cost: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Study, setting and rows of each lot that is compared: equal layout, width, batch and precision only.

    Those of most architectures first: their numbers stand side by side.
    """
    names = sorted(COST_SETTING, key=lambda name: name not in ("layout", "dataset"))  # these two are said first
    found = []
    for study, of_study in cost.groupby("study", sort=True):
        varied = [name for name in names if of_study[name].nunique() > 1]
        for key, rows in of_study.groupby(varied, sort=True) if varied else [((), of_study)]:
            setting = ", ".join(f"{name} {value}" for name, value in zip(varied, key, strict=True))
            # A study that trains at several learning rates measures the cost of each: it is the same cost.
            found.append((str(study), setting, one_each(rows, ["architecture", "depth"])))
    return sorted(found, key=lambda lot: -lot[2]["architecture"].nunique())
