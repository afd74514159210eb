"""The probe that cuts: what becomes of a trained network when blocks are deleted or shuffled (Veit et al. 2016).

It only runs the network in parts (`anatomy.walk`) and never changes it. What the numbers mean for the document's
claim is judged elsewhere.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bench.anatomy import IMAGES, Probe, batch_statistics, blocks_of, deletable, error_of, evenly, rounded, walk
from bench.images import Images
from bench.study import Trial
from bench.train import mode
from models.network import Network
from models.spec import stream

# A net that did not train has nothing to lose: chance is 0.9.
MOST_INTACT_ERROR = 0.5
# Blocks deleted one at a time: all of a shallow net, so many of a deep one, evenly spread.
SINGLES = 8
# Shares of the deletable blocks that are deleted together, at random, and draws of each.
SHARES, DRAWS = (1 / 16, 1 / 4, 1 / 2, 3 / 4, 1.0), 2
# By so much may the error rise before a deletion counts as felt: 5 points,
# ten of the images that a lesion is judged by.
FELT = 0.05


class Lesions(Probe):
    """Errors of the network with one block deleted, with k random blocks deleted, and with blocks shuffled.

    A deleted block leaves its shortcut (a plain one leaves its input as it came); only blocks that keep their shape
    are deleted, so that plain nets can be cut too. Shuffling permutes those blocks within their stage. All errors are
    shares wrong of the first `IMAGES` test images, in two ways: "errors" with the intact net's BatchNorm statistics
    (re-estimated after training), "errors_reestimated" with those of the lesioned net itself, taken from the very
    images, without labels, in one batch. After epochs 1, 3, 9 ... only the second way is tried: in the midst of
    training running statistics lag.

    Effective depth: the layers that are left once so many random blocks are deleted that the error has risen by
    `FELT`, linear between the numbers of blocks that were tried. A net whose every lesion is felt has nearly its own
    depth; one that can lose all its deletable blocks has that of the blocks that cannot be deleted.

    Found: "intact_error", "blocks", "errors", "random" [{"k", "errors", "errors_reestimated"}], "shuffled" {"errors",
    "errors_reestimated"}, "effective_depth", and "intact_error_reestimated", "errors_reestimated",
    "effective_depth_reestimated"; "n_deletable", "n_blocks"; "by_epoch" [{"epoch", "intact_error", "random",
    "effective_depth"}]. Where the intact net errs on more than half: "skipped", and nothing else but its error.
    """

    def __init__(self, network: nn.Module, images: Images, trial: Trial) -> None:
        super().__init__(network, images, trial)
        self.blocks = blocks_of(network)
        self.can_go = deletable(self.blocks)
        self.by_epoch: list[dict[str, Any]] = []
        data = images.data
        n = min(IMAGES, len(data.test_labels))
        self.x, self.y = images.prepare(data.test_images[:n]), data.test_labels[:n]

    def after_epoch(self, epoch: int) -> None:
        if not self.can_go or not _power_of_three(epoch) or epoch == self.trial.epochs:
            return
        with torch.no_grad(), batch_statistics(self.network):
            intact = self._error()
            row: dict[str, Any] = {"epoch": epoch, "intact_error": intact}
            if intact <= MOST_INTACT_ERROR:
                row["random"] = [{"k": len(s[0]), "errors": [self._error(cut=s[0])]} for s in self._random(draws=1)]
                row["effective_depth"] = self._effective_depth(intact, row["random"], "errors")
        self.by_epoch.append(row)

    @torch.no_grad()
    def at_end(self) -> None:
        if not self.can_go:
            self.found = {"skipped": "no block can be deleted" if self.blocks else "the blocks are a user's own"}
            return
        with mode(self.network, training=False):
            intact = self._error()
        if intact > MOST_INTACT_ERROR:
            reason = f"the intact net did not train: it errs on {intact:.0%} of {len(self.y)} test images"
            self.found = {"skipped": reason, "intact_error": intact}
            return
        chosen = evenly(self.can_go, SINGLES)
        found: dict[str, Any] = {"n_blocks": len(self.blocks), "n_deletable": len(self.can_go), "blocks": chosen}
        random = [{"k": len(draws[0])} for draws in self._random(DRAWS)]
        shuffled: dict[str, Any] = {}
        with mode(self.network, training=False):
            self._cut("", intact, found, random, shuffled)
        with batch_statistics(self.network):
            self._cut("_reestimated", self._error(), found, random, shuffled)
        self.found = {**found, "random": random, "shuffled": shuffled, "by_epoch": self.by_epoch}

    def _cut(
        self, way: str, intact: float, found: dict[str, Any], random: list[dict[str, Any]], shuffled: dict[str, Any]
    ) -> None:
        """All lesions, in the mode that the network is in; names end in `way`."""
        found[f"intact_error{way}"] = intact
        found[f"errors{way}"] = self._singles(found["blocks"])
        for row, draws in zip(random, self._random(DRAWS), strict=True):
            # All of them can only be deleted in one way.
            row[f"errors{way}"] = [self._error(cut=cut) for cut in dict.fromkeys(draws)]
        shuffled[f"errors{way}"] = [self._error(order=order) for order in self._orders(DRAWS)]
        found[f"effective_depth{way}"] = self._effective_depth(intact, random, f"errors{way}")

    def _network(self) -> Network:
        assert isinstance(self.network, Network)
        return self.network

    def _error(self, order: list[int] | None = None, cut: frozenset[int] = frozenset()) -> float:
        network = self._network()
        order = list(range(len(self.blocks))) if order is None else order
        return rounded(error_of(walk(network, network.stem(self.x), order, cut), self.y))

    def _singles(self, chosen: list[int]) -> list[float]:
        """The error without each of these blocks; what lies before it is computed once."""
        network, x, done, errors = self._network(), self._network().stem(self.x), 0, []
        for i in chosen:
            x = self._through(x, done, i)
            errors.append(rounded(error_of(walk(network, x, range(i, len(self.blocks)), {i}), self.y)))
            done = i
        return errors

    def _through(self, x: Tensor, start: int, end: int) -> Tensor:
        for block in self.blocks[start:end]:
            x = block(x)
        return x

    def _random(self, draws: int) -> list[list[frozenset[int]]]:
        """For each number of blocks its draws; the same for every architecture of a depth and seed."""
        generator = torch.Generator().manual_seed(stream(self.trial.seed, "lesions"))
        n = len(self.can_go)
        chosen = []
        for k in sorted({max(1, round(share * n)) for share in SHARES}):
            orders = [torch.randperm(n, generator=generator)[:k].tolist() for _ in range(draws)]
            chosen.append([frozenset(self.can_go[j] for j in order) for order in orders])
        return chosen

    def _orders(self, draws: int) -> list[list[int]]:
        """Orders of all blocks in which those that can be deleted are shuffled within their stage."""
        generator = torch.Generator().manual_seed(stream(self.trial.seed, "shuffles"))
        stages = self._network().stage_of()
        orders = []
        for _ in range(draws):
            order = list(range(len(self.blocks)))
            for stage in sorted(set(stages)):
                places = [i for i in self.can_go if stages[i] == stage]
                for place, j in zip(places, torch.randperm(len(places), generator=generator).tolist(), strict=True):
                    order[place] = places[j]
            orders.append(order)
        return orders

    def _effective_depth(self, intact: float, random: list[dict[str, Any]], errors: str) -> float:
        """See the class."""
        layers = (self.trial.depth - 2) / len(self.blocks)
        k0, rise0 = 0.0, 0.0
        for row in random:
            rise = sum(row[errors]) / len(row[errors]) - intact
            if rise >= FELT:
                k0 += (row["k"] - k0) * (FELT - rise0) / (rise - rise0)
                break
            k0, rise0 = row["k"], max(rise, 0.0)
        return round(self.trial.depth - layers * k0, 1)


def _power_of_three(epoch: int) -> bool:
    while epoch % 3 == 0:
        epoch //= 3
    return epoch == 1
