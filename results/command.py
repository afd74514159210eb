"""What the report half's commands share: a folder made before any work, and one line for what cannot be served."""

import os
import sys
from collections.abc import Callable
from pathlib import Path


def ready(folder: Path) -> None:
    """Makes a folder, before any work.

    Raises:
        ValueError: One line: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {folder}")


def serve(app: Callable[[], object]) -> None:
    """Runs a command; a request that cannot be served is one line on stderr, and exit code 2."""
    try:
        app()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `... | head` read enough
        sys.stderr.close()
        raise SystemExit(0) from None
