"""The table of executors: in this process, in supervised warm workers, or on a Ray cluster."""

from collections.abc import Callable

from bench.sweep.executor import Executor, Settings
from bench.sweep.inline import Inline
from bench.sweep.process import Process


def _ray(settings: Settings) -> Executor:
    try:
        from bench.sweep.ray_cluster import Ray
    except ImportError as error:
        raise ValueError(f"executor 'ray' needs Ray, which `make setup-all` installs: {error}") from None
    return Ray(settings)


EXECUTORS: dict[str, Callable[[Settings], Executor]] = {
    "inline": Inline,
    "process": Process,
    "ray": _ray,
}
