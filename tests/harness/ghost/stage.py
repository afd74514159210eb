"""Where scenarios are played: one process that has loaded torch under the ghost card, and forks for each of them.

A fork, since loading takes three seconds and a failed capture may spoil its process. Nothing touches the card before.
"""

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any

# Of one scenario; the longest, which compiles, takes half a minute on two quiet cores.
LIMIT_S = 300.0


class Stage:
    """The near side.

    Args:
        environment: What `build` gave, or what else the process needs to load torch as it must.
        scenarios: A module of functions.
    """

    def __init__(self, environment: Mapping[str, str], scenarios: str = "tests.harness.ghost.scenarios") -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.ghost.stage", scenarios], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip

    def __call__(self, scenario: str, *arguments: Any) -> Any:
        """Plays a function in a process of its own; what it returns comes back as plain data.

        Raises:
            RuntimeError: What it raised, with its traceback, or how its process ended.
        """
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps([scenario, arguments]) + "\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        answer = json.loads(line) if line else {"failed": f"the stage ended: exit code {self.server.wait()}"}
        if "failed" in answer:
            raise RuntimeError(f"{scenario}: {answer['failed']}")
        return answer["value"]

    def close(self) -> None:
        """Ends the process: it has no more lines to read."""
        with self.server:
            pass


def serve() -> None:
    """The far side: a line [name, arguments] in, a line {"value"} or {"failed"} out, until the input ends."""
    scenarios = importlib.import_module(sys.argv[1])
    gc.freeze()  # or each collection of each child would walk all that was loaded, and copy its pages
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a scenario prints is no answer
    for line in sys.stdin:
        name, arguments = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                answer = {"value": getattr(scenarios, name)(*arguments)}
            except BaseException:
                answer = {"failed": traceback.format_exc()}
            with os.fdopen(writing, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)  # no clearing up: torch would wait for a card that may have failed
        os.close(writing)
        answers.write(_answer(child, reading) + "\n")
        answers.flush()


def _answer(child: int, reading: int) -> str:
    with os.fdopen(reading) as pipe:
        ended, _, _ = select.select([pipe], [], [], LIMIT_S)
        if not ended:
            os.kill(child, signal.SIGKILL)
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return text or json.dumps({"failed": f"its process ended with exit code {code} (negative: signal), without a word"})


if __name__ == "__main__":
    serve()
