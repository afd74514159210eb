"""Weights from elsewhere: state dicts of public implementations of these nets, fitted by order and shape.

Implementations name their modules differently but create them in the order of the forward pass, as we do.
So the n-th tensor of one belongs to the n-th of the other, if its role (weight, bias, mean, variance) and
shape agree; anything that does not is said, never skipped. Reading files is the caller's business.
"""

import copy
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

# A counter that old checkpoints lack and that no output depends on.
_COUNTER = "num_batches_tracked"


def misfits(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """What does not fit, a line for each tensor; empty when everything does.

    Args:
        network: Where the weights would go.
        state: A state dict; prefixes such as DataParallel's "module." do not matter.
    """
    lines = [f"{name} of the state dict is {type(value).__name__}, no tensor" for name, value in state.items()
             if not isinstance(value, Tensor)]  # fmt: skip
    if lines:
        return lines
    return _unlike(_tensors(network.state_dict()), _tensors(state))


Entry = tuple[str, Tensor]


def _unlike(mine: Sequence[Entry], others: Sequence[Entry]) -> list[str]:
    lines = []
    for ours, theirs in zip_longest(mine, others):
        if theirs is None:
            lines.append(f"{_text(ours)} gets nothing: the state dict ends before it")
        elif ours is None:
            lines.append(f"{_text(theirs)} of the state dict has no place: the network ends before it")
        elif _role(ours[0]) != _role(theirs[0]) or ours[1].shape != theirs[1].shape:
            lines.append(f"{_text(ours)} does not fit {_text(theirs)} of the state dict")
    return lines


# What `load_by_order` returns where nothing has proved the load.
UNPROVED = (
    "every tensor fits, which is no proof: where a shortcut pads, what it sees and where a stride stands"
    " leave no trace in shapes; an example of the other network's outputs would show it"
)


def load_by_order(network: nn.Module, state: Mapping[str, Any], example: tuple[Tensor, Tensor] | None = None) -> str:
    """Copies a state dict into a network, tensor by tensor in order.

    torchvision's `resnet18/34/50/101/152` fit architecture "resnet-b" in layout "imagenet"; CIFAR nets with
    option A fit "resnet" or "resnet-both-sides", by where they pad, with 1x1 projections "resnet-b", in layout "cifar".
    Some nets, the document's among them, make a block's convolutions before its normalisations: they are fitted kind by
    kind, and only if an example proves it, since so much freedom fits nets that compute something else.

    Args:
        network: Where the weights go.
        state: A state dict, or a checkpoint that holds one under "state_dict", "model" or "net".
        example: Inputs, N x C x H x W, and the logits, N x classes, that the other network gives for them in eval mode.

    Returns:
        What is not known about the load: `UNPROVED`, or empty where an example has proved it.

    Raises:
        ValueError: Something does not fit, the first such tensor and how many in all; or the example's logits differ
            by more than 1e-3 of the largest. Nothing is copied then.
    """
    state = _innermost(state)
    lines = misfits(network, state)
    ours, theirs = _tensors(network.state_dict()), [] if lines and "no tensor" in lines[0] else _tensors(state)
    if lines and theirs and not _unlike(_by_kind(ours), _by_kind(theirs)):
        if example is None:
            raise ValueError(
                f"the state dict does not fit in order: {lines[0]}; kind by kind it does: give an example of the other"
                " network's outputs to prove that"
            )
        ours, theirs, lines = _by_kind(ours), _by_kind(theirs), []
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise ValueError(f"the state dict does not fit: {lines[0]}{more}")
    found = {mine[0]: other[1] for mine, other in zip(ours, theirs, strict=True)}
    if example is not None:
        _prove(copy.deepcopy(network), found, *example)
    _copy(network, found)
    return UNPROVED if example is None else ""


def _prove(trial: nn.Module, theirs: Mapping[str, Tensor], images: Tensor, wanted: Tensor) -> None:
    """Refuses weights with which a copy of the network does not give these logits."""
    _copy(trial, theirs)
    with torch.no_grad():
        found = trial.eval()(images)
    apart, largest = float((found - wanted).abs().max()), float(wanted.abs().max())
    if not apart <= 1e-3 * largest:
        raise ValueError(
            f"every shape fits, but the example's logits differ by {apart:.3g} (largest {largest:.3g}): another network"
        )


def _copy(network: nn.Module, theirs: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, ours in _tensors(network.state_dict()):
            ours.copy_(theirs[name])


def _innermost(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The state dict in a checkpoint: training scripts save it beside epoch and accuracy."""
    for name in ("state_dict", "model", "net"):
        inside = state.get(name)
        if isinstance(inside, Mapping):
            return _innermost(inside)
    return state


def _tensors(state: Mapping[str, Tensor]) -> list[Entry]:
    return [(name, tensor) for name, tensor in state.items() if not name.endswith(_COUNTER)]


def _by_kind(entries: Sequence[Entry]) -> list[Entry]:
    """Those of normalisations after all others, each in their order."""
    norms = {name.rpartition(".")[0] for name, _ in entries if _role(name) == "running_mean"}
    return sorted(entries, key=lambda entry: entry[0].rpartition(".")[0] in norms)


def _role(name: str) -> str:
    return name.rpartition(".")[2]


def _text(entry: Entry) -> str:
    return f"{entry[0]} {'x'.join(map(str, entry[1].shape))}"
