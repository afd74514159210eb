"""Every number that the probes of a record left, one at a time: the rows of table `probes`. No pandas.

What a probe may leave is in bench/store/parts.py; a probe that is not known here is told by the names in it.
"""

import math
from collections.abc import Iterator

from bench.store.parts import BranchRatio, GradientNorms
from bench.store.record import Record
from results.rows import any_number, number

# One number of a probe: quantity, name, index, epoch, value.
Reading = tuple[str, str, int, float, float]


def readings(record: Record) -> Iterator[tuple[str, Reading]]:
    """Every number that the probes left, with the probe's key.

    `gradient_norms`: "norm" by layer. `branch_ratio`: "ratio" and "response_std_by_block" by block and epoch (name: the
    block; index: its place among those that were measured). `lesions`: "errors" and "errors_reestimated" by place in
    "blocks", "random.errors" by the number of deleted blocks. Any other probe: its scalars, its lists by position,
    lists of dicts by position with the dict's keys as quantities.
    """
    for probe, content in record.probes.items():
        if not isinstance(content, dict):
            continue
        told: tuple[str, ...] = ()
        if probe == "gradient_norms" and isinstance(content.get("layers"), list):
            yield from ((probe, reading) for reading in _by_layer(record.probes["gradient_norms"]))
            told = ("layers", "norms")
        elif probe == "branch_ratio":
            yield from ((probe, reading) for reading in _by_block_and_epoch(record.probes["branch_ratio"]))
            told = _BY_BLOCK_AND_EPOCH
        rest = {name: value for name, value in content.items() if name not in told}
        yield from ((probe, reading) for reading in _flat("", rest))


def _by_layer(content: GradientNorms) -> Iterator[Reading]:
    names = content["layers"]
    norms = content.get("norms")
    for i, value in enumerate(norms if isinstance(norms, list) else []):
        yield "norm", str(names[i]) if i < len(names) else "", i, math.nan, number(value)


_BY_BLOCK_AND_EPOCH = ("block", "epoch", "ratio", "response_std_by_block", "response_std")


def _by_block_and_epoch(content: BranchRatio) -> Iterator[Reading]:
    """A table is a list an epoch, or a list a block: whichever has as many entries as there are epochs.

    Older records have the responses as "response_std", in the same form.
    """
    blocks, epochs = _whole(content.get("block")), _whole(content.get("epoch"))
    responses = content.get("response_std_by_block", content.get("response_std"))
    for quantity, table in (("ratio", content.get("ratio")), ("response_std_by_block", responses)):
        if not isinstance(table, list):
            continue
        by_epoch = len(table) == len(epochs) and all(isinstance(r, list) and len(r) == len(blocks) for r in table)
        for i, row in enumerate(table):
            for j, value in enumerate(row if isinstance(row, list) else []):
                e, b = (i, j) if by_epoch else (j, i)
                if e < len(epochs) and b < len(blocks):
                    yield (quantity, str(blocks[b]), b, number(epochs[e]), number(value))


def _whole(value: list[int] | None) -> list[int]:
    return value if isinstance(value, list) else []


def _flat(quantity: str, value: object, index: int = -1, epoch: float = math.nan) -> Iterator[Reading]:
    if isinstance(value, dict):
        epoch = any_number(value["epoch"]) if "epoch" in value and not isinstance(value["epoch"], list) else epoch
        # Random lesions come as {"k": 4, "errors": [...]}: k is what they are plotted against.
        at = value["k"] if isinstance(value.get("k"), int) and abs(value["k"]) < 2**31 else index
        for key, inner in value.items():
            if key not in ("k", "epoch") or isinstance(inner, list):
                yield from _flat(f"{quantity}.{key}" if quantity else key, inner, at, epoch)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            # Inside an indexed entry the index is kept: many errors at one k are one row each.
            yield from _flat(quantity, inner, i if index < 0 or isinstance(inner, dict) else index, epoch)
    elif isinstance(value, bool | int | float):
        yield (quantity, "", index, epoch, float(value))
    elif isinstance(value, str):
        yield (quantity, value, index, epoch, math.nan)
