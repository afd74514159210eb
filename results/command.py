"""What the report half's commands share: a folder that is made before any work."""

import os
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
