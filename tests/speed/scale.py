"""How large the CUDA table's rows are: the real thing, and the rehearsal that finds its mistakes on a CPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How large everything is: the real thing, or the rehearsal.

    Attributes:
        device: "cuda", or "cpu" when rehearsing.
        depths: Of the step rows.
        large: Of the rows at batch `large_batch`.
        slope: For the slope of time over depth.
        exact: Of the test of exactness, and its steps.
        first: Four-stage depths whose first steps are compared.
        images: Of an epoch.
    """

    device: str = "cuda"
    side: int = 32
    width: int = 16
    batch: int = 128
    large_batch: int = 512
    images: int = 50_000
    rounds: int = 7
    depths: tuple[int, ...] = (20, 56, 110, 1202)
    large: tuple[int, ...] = (110, 1202)
    slope: tuple[int, ...] = (68, 110, 218, 434, 1202)
    exact: tuple[int, ...] = (20, 110)
    exact_steps: int = 100
    first: tuple[int, int] = (34, 1002)
    deepest: int = 1202


REAL = Scale()
REHEARSAL = Scale("cpu", 8, 8, 8, 16, 64, 2, (8, 14), (14,), (8, 14, 20), (8,), 6, (10, 18), 14)
