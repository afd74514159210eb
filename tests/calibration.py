"""What a machine does by itself, the yardstick of the benchmarks: on a CPU without torch, which may be the question.

A third each of products, passes over memory and plain Python: a neighbour on the same core slows Python by 1.7 times
and products by 1.1, and a training step lies between.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

# Two runs with unlike workloads cannot be compared.
DIGEST = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]

_generator = np.random.default_rng(0)
_a = _generator.standard_normal((256, 256), dtype=np.float32)
_b = _generator.standard_normal(2**20, dtype=np.float32)


def work(device: str) -> None:
    """The workload, about 15 ms."""
    on_device = torch.ones(2048, 2048, device=device) if device == "cuda" else None
    for _ in range(15):
        _a @ _a
    for _ in range(6):
        np.maximum(_b, 0).sum()
    sum(i * i for i in range(120_000))
    if on_device is not None:
        for _ in range(50):
            on_device @ on_device
        torch.cuda.synchronize()
