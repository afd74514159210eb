"""Where the suite lies: a checkout, or the folder that it was installed into."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Its packages, which a user may have by the same names.
ROOMS = ("models", "bench", "results", "reports")
