"""What a user's own code keeps outside of tensors that torch knows: attributes of its modules, names in its sources.

A block may count its steps, or hold a running mean: then its next step depends on that, and a checkpoint must have it.
Plain data and tensors are saved. Of all else it is only told whether it has changed.
"""

import hashlib
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.plan import own

# What every module of torch's has, hooks and the like, and what the suite sets in a compiled one's place.
_OF_TORCH = frozenset(dir(nn.Module()))
_PLAIN = (int, float, str, bool, type(None))

# By the place of a module in the network, or the name of a source's: what it keeps.
Kept = dict[str, dict[str, Any]]


def plain(value: Any, leaf: Callable[[Any], bool] = lambda _: False) -> bool:
    """Whether `weights_only` would load it: numbers and texts, and lists, tuples and dicts of them.

    Args:
        value: Of just these types: a NumPy number, say, is a float, and would not be loaded.
        leaf: What else is as good as a number.
    """
    if type(value) in (list, tuple):
        return all(plain(each, leaf) for each in value)
    if type(value) is dict:
        return all(plain(k) and plain(v, leaf) for k, v in value.items())
    return type(value) in _PLAIN or leaf(value)


class Attributes:
    """What a network of a user's own blocks, and the sources of these, keep outside of parameters and buffers.

    Args:
        network: Before its first step.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        # Parameters and buffers are saved by themselves; a second name for one of them must stay just that.
        self._known = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self._at_start = self._rest()

    def _holders(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, module in self._network.named_modules():
            yield f"module {place}", {k: v for k, v in vars(module).items() if k not in _OF_TORCH}
        for name, source in own.modules().items():
            yield f"source {name}", {k: v for k, v in vars(source).items() if not k.startswith("__")}

    def _saved(self, value: Any) -> bool:
        return plain(value, lambda each: type(each) is Tensor and id(each) not in self._known)

    def read(self) -> Kept:
        """All that can be saved, tensors on the host."""
        host = torch.device("cpu")
        kept = {
            place: {name: _moved(value, host) for name, value in held.items() if self._saved(value)}
            for place, held in self._holders()
        }
        return {place: held for place, held in kept.items() if held}

    def put_back(self, kept: Kept) -> None:
        """The inverse of `read`; tensors go to the device of those that they replace, else to the network's."""
        objects: dict[str, Any] = {f"module {place}": module for place, module in self._network.named_modules()}
        objects |= {f"source {name}": source for name, source in own.modules().items()}
        device = next((p.device for p in self._network.parameters()), torch.device("cpu"))
        for place, held in kept.items():
            for name, value in held.items():
                old = vars(objects[place]).get(name)
                vars(objects[place])[name] = _moved(value, old.device if isinstance(old, Tensor) else device)

    def changed(self) -> str:
        """The first thing that has changed since the start and cannot be saved; empty where there is none."""
        now = self._rest()
        return next((name for name in {**self._at_start, **now} if self._at_start.get(name) != now.get(name)), "")

    def _rest(self) -> dict[str, str]:
        """Of what cannot be saved, what it is: a digest of its content, or where it lies."""
        return {
            f"{name} of {place}": self._told(value)
            for place, held in self._holders()
            for name, value in held.items()
            if not self._saved(value)
        }

    def _told(self, value: Any) -> str:
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings(action="ignore"):
                _Content(buffer, self._known).dump(value)
        except Exception:  # functions without a name, locks, what a library forbids: known by their places
            return f"at {id(value)}"
        return hashlib.sha256(buffer.getvalue()).hexdigest()


class _Content(pickle.Pickler):
    """Writes what an object holds, but for the network's own modules, parameters and buffers: these are known."""

    def __init__(self, file: io.BytesIO, known: set[int]) -> None:
        super().__init__(file)
        self._known = known

    def persistent_id(self, found: Any) -> str | None:
        known = isinstance(found, nn.Module | nn.Parameter) or id(found) in self._known
        return f"{type(found).__name__} at {id(found)}" if known else None


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, list | tuple):
        return type(value)(_moved(each, device) for each in value)
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value
