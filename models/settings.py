"""torch's settings of this process, which any code may change: read, and put back as they were.

A user's own block is imported and built in a process that goes on to train other networks: what it sets (threads, a
default dtype, generators) must not become the next trial's. No networks here.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def _of_backend(path: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    *parts, name = path.split(".")
    place: Any = torch.backends
    for part in parts:
        place = getattr(place, part)
    return lambda: getattr(place, name), lambda value: setattr(place, name, value)


def _of_cudnn() -> tuple[str, str]:
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision  # type: ignore[attr-defined]


def _set_of_cudnn(value: tuple[str, str]) -> None:
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = value[0] == "tf32"  # the older switch, which raises where it is read and disagrees
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = value


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


# Name -> how it is read and set. Only what differs is set: some of torch's setters import its compiler, for seconds.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, lambda device: torch.set_default_device(None)),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "deterministic algorithms": (
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    "memory that is filled": (
        lambda: torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        lambda value: setattr(torch.utils.deterministic, "fill_uninitialized_memory", value),
    ),
    "precision of cuDNN": (_of_cudnn, _set_of_cudnn),
    **{
        name: _of_backend(name)
        for name in (
            "cudnn.enabled", "cudnn.benchmark", "cudnn.deterministic",
            "cuda.matmul.fp32_precision", "mkldnn.enabled", "mkldnn.matmul.fp32_precision",
            "mkldnn.conv.fp32_precision",
        )
    },
}  # fmt: skip


def read() -> dict[str, Any]:
    """The settings by name."""
    return {name: get() for name, (get, _) in _SETTINGS.items()}


def put_back(before: dict[str, Any]) -> list[str]:
    """Sets what is no longer as `read` found it; the names of that."""
    changed = [name for name, value in before.items() if _SETTINGS[name][0]() != value]
    for name in changed:
        _SETTINGS[name][1](before[name])
    return changed


@contextmanager
def kept() -> Iterator[None]:
    """Within, code may do what it likes to settings, generators and working folder: afterwards they are as before."""
    before, folder = read(), os.getcwd()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        put_back(before)
        os.chdir(folder)
        random.setstate(python)
        np.random.set_state(numpy)
