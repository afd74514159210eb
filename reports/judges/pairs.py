"""Two kinds of nets at the same depth, seeds paired: what the judges that set them side by side look at."""

import math
from collections.abc import Iterable

from reports.finding import PlacementRow, percent, shown
from reports.judges.ladders import Ladder
from results import stats


def pair(original: Ladder, other: Ladder, depth: int) -> tuple[stats.Difference, PlacementRow]:
    """The other's errors above the original's at this depth, and the row of details, its state still open."""
    a, b = other.errors[:, other.depths.index(depth)], original.errors[:, original.depths.index(depth)]
    found = stats.difference(a, b, images=original.images, resolution=original.resolution)
    failed = failures(original, other, depth) > 0
    effect, low, high = shown(found, failed)
    return found, PlacementRow(
        subject=other.subject,
        depth=depth,
        effect=effect,
        low=low,
        high=high,
        error=shown_error(other, other.depths.index(depth)),
        original=shown_error(original, original.depths.index(depth)),
        n=found.n,
        failed=failed,
        state="",
    )


def failures(original: Ladder, other: Ladder, depth: int) -> int:
    """Seeds of the two that diverged or failed at this depth."""
    places = [(side, side.depths.index(depth)) for side in (other, original)]
    return sum(side.diverged[j] + side.broken[j] for side, j in places)


def shown_error(ladder: Ladder, j: int) -> float:
    """Mean error over seeds, in 0..1; NaN where a seed failed: its worst rank is no error."""
    return math.nan if ladder.diverged[j] or ladder.broken[j] else float(ladder.errors[:, j].mean())


def ends(ladder: Ladder, j: int) -> str:
    """How the nets of depth number `j` end, in words."""
    if ladder.diverged[j]:
        return f"diverges in {ladder.diverged[j]} of {len(ladder.seeds)} seeds"
    if ladder.broken[j]:
        return f"fails in {ladder.broken[j]} of {len(ladder.seeds)} seeds"
    return f"ends at {percent(float(ladder.errors[:, j].mean()))}"


def at_its_rate(ladder: Ladder, plains: Iterable[Ladder]) -> str:
    """How the plain twin of the deepest nets ends at their learning rate instead of its own; empty if not tried.

    Never judged: a rate that suits one of two nets decides nothing about the other.
    """
    for plain in plains:
        alike = (plain.study, plain.epochs, plain.lr_from) == (
            ladder.study,
            ladder.epochs,
            f"search of {ladder.subject}",
        )
        if alike and ladder.depths[-1] in plain.depths:
            j = plain.depths.index(ladder.depths[-1])
            return f"At the learning rate of {ladder.subject}, not judged, {plain.subject} {ends(plain, j)}"
    return ""
