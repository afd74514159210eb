"""What tests of figures look for in a drawing."""

import matplotlib.colors
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from results.figures import style

PROBES = ("gradient_norms", "branch_ratio", "lesions")


def hollow_marks(figure: Figure) -> list[tuple[float, float]]:
    """Where the failure marks are: hollow ones, each of which has a cross on top."""
    found = []
    for axes in figure.axes:
        for drawn in axes.collections:
            hollow = isinstance(drawn, PathCollection) and drawn.get_facecolor().size
            if hollow and matplotlib.colors.to_hex(drawn.get_facecolor()[0]) == style.GROUND:
                found += [tuple(at) for at in drawn.get_offsets().tolist()]
    return found
