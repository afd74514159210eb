"""Several trials in one process, by turns: one thread works at a time, and hands its turn on where it would wait.

What a GPU was asked for goes on meanwhile, each trial's on a stream of its own, so that small nets share the card.
torch's switches and its default generator on the CPU are one for all threads of a process, so each thread finds them
as it left them. Its default generator on a GPU cannot be kept so: captured graphs read where it stands from memory that
they share. A net that draws from it (`Architecture.draws`) is no trial to run by turns.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import torch

from bench.train.device import own_stream, reset_peak_memory
from models import settings


class _Ring:
    """The gates of the threads in the order of their turns; the first is that of the thread at work."""

    def __init__(self) -> None:
        self.gates: deque[threading.Semaphore] = deque()
        self.compiled = False

    def hand_on(self, last: bool = False) -> None:
        """Ends this thread's turn and waits for the next; with `last`, there is none."""
        mine = self.gates.popleft()
        if not last:
            self.gates.append(mine)
        if self.gates:
            self.gates[0].release()
        if not last:
            mine.acquire()


_here = threading.local()


def give_way() -> float:
    """Lets the other trials of this process have their turns; to be called before the device is waited for.

    Returns:
        Seconds until the turn came back; about 0 where a trial is alone.
    """
    ring: _Ring | None = getattr(_here, "ring", None)
    if ring is None:
        return 0.0
    began, before, state = time.perf_counter(), settings.read(), torch.get_rng_state()
    ring.hand_on()
    settings.put_back(before)
    torch.set_rng_state(state)
    return time.perf_counter() - began


def begins_compiling() -> bool:
    """Marks this ring as compiling; whether it is the first to, so that torch's compiler may forget what it has."""
    ring: _Ring | None = getattr(_here, "ring", None)
    begins = ring is None or not ring.compiled
    if ring is not None:
        ring.compiled = True
    return begins


def together(calls: Sequence[Callable[[], None]], device: str) -> None:
    """Runs calls by turns, each in a thread and on a stream of its own, and gives the device's memory back.

    Args:
        calls: Each hands its turn on by `give_way`, and at its end.
        device: A key of `KINDS`.

    Raises:
        BaseException: The first that a call let through, once all have ended.
    """
    ring, raised = _Ring(), list[BaseException]()

    def run(call: Callable[[], None], gate: threading.Semaphore) -> None:
        gate.acquire()
        _here.ring = ring
        try:
            with own_stream(device):
                call()
        except BaseException as error:
            raised.append(error)
        finally:
            ring.hand_on(last=True)

    threads = []
    for call in calls:
        ring.gates.append(threading.Semaphore(0))
        threads.append(threading.Thread(target=run, args=(call, ring.gates[-1])))
        threads[-1].start()
    ring.gates[0].release()
    for thread in threads:
        thread.join()
    reset_peak_memory(device)  # no graph is left that knows the addresses
    if raised:
        raise raised[0]
