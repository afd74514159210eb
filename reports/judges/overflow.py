"""Whether nets that diverged could have trained at all: of some the first gradient is no number already.

Own file because it looks at a probe, not at errors. It judges nothing: it is a second line beside a verdict.
"""

import numpy as np

from reports.finding import OVERFLOWS, Finding
from results.tables import Frames


def told(finding: Finding, frames: Frames) -> str:
    """What the gradients before the first step say of the deepest nets that diverged in every seed; often empty."""
    rows = frames.trials[frames.trials["digest"].isin(finding.trials)]
    if not (rows["status"] == "diverged").any():
        return ""
    lost = rows.groupby(["architecture", "depth"]).filter(lambda net: (net["status"] == "diverged").all())
    if lost.empty:
        return ""
    deepest = lost[lost["depth"] == lost["depth"].max()]
    probes = frames.probes
    norms = probes[
        probes["digest"].isin(deepest["digest"])
        & (probes["probe"] == "gradient_norms")
        & (probes["quantity"] == "norm")
    ]
    by_trial = norms.groupby("digest")["value"].agg(lambda values: int((~np.isfinite(values)).sum()))
    if len(by_trial) < len(deepest) or not (by_trial > 0).all():
        return ""
    name, depth = deepest["architecture"].iloc[0], deepest["depth"].iloc[0]
    layers = norms.groupby("digest").size().max()
    fewest, most = by_trial.min(), by_trial.max()
    counted = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        f"before the first step the gradient of the {name} net of {depth} layers {OVERFLOWS} {counted} of {layers} "
        "layers checked: from such a start no learning rate could train it"
    )
