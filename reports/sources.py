"""What every report begins with: a study by its name, its records read and judged."""

from pathlib import Path
from typing import TYPE_CHECKING

from results.command import loaded

if TYPE_CHECKING:
    from bench.plan.study import Study
    from reports.page.context import Source
    from results.tables import Frames


def gather(study: str, records: Path, machine: str = "") -> "Source":
    """Study, frames and findings.

    Args:
        study: A built-in name or a path that ends in ".toml".
        records: Folder that holds a folder of records per study.
        machine: Folder in each of those, as published records have it.

    Raises:
        ValueError: One line: unknown study, a claim that is none, or no such folder of records.
    """
    found = asked(study)
    return judged(found, study, loaded(found, study, [records / name / machine for name in found.parts]))


def studied(study: str) -> "tuple[Study, str]":
    """The study of that name or path, and the text of its file; raises as `gather` does, but for unknown claims."""
    from bench.plan import study as studies

    path = Path(study) if study.endswith(".toml") else studies.STUDIES / f"{study}.toml"
    return studies.load(study), path.read_text(encoding="utf-8-sig")


def asked(study: str) -> "Study":
    """The study of that name or path; raises as `gather` does."""
    from bench.asked import known_claims

    found = studied(study)[0]
    known_claims(found)
    return found


def judged(found: "Study", study: str, frames: "Frames") -> "Source":
    """A study and the frames of its records, judged."""
    from reports.claims import judge
    from reports.page.context import Source

    return Source(found, study, studied(study)[1], frames, judge(frames))
