"""The order of the files: those that take longest come first, or `make test` would end with one process at work."""

import gc
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# Over ten seconds each. Whole files are given out in this order, then the others as they lie in their folders.
LONGEST = (
    "harness/ghost/test_ghost.py", "reports/test_found.py", "reports/page/test_published.py", "test_readme.py",
    "reports/test_against.py", "results/test_made.py", "results/test_study.py", "reports/test_command.py",
    "reports/page/test_browser.py", "bench/test_faults.py", "bench/test_own_process.py",
    "models/test_counts.py", "reports/page/test_in_use.py", "bench/test_cli.py", "bench/plan/test_own.py",
    "reports/judges/test_failures.py", "reports/judges/test_judges.py", "bench/train/test_compiled.py",
    "bench/train/test_kernels.py",
    "reports/judges/test_planted.py", "models/test_network.py", "reports/page/test_words.py",
    "reports/page/test_first.py", "reports/page/test_page.py",
    "bench/plan/test_own_reads.py", "test_imports.py", "bench/test_tables.py", "reports/test_any_records.py",
    "bench/test_own_trials.py", "regressions/test_gate.py", "bench/plan/test_own_imports.py",
    "bench/test_elsewhere.py", "bench/sweep/test_array.py", "regressions/test_as_typed.py", "bench/train/test_graph.py",
    "bench/sweep/test_executors.py", "results/test_files.py", "bench/cost/test_trace.py", "bench/cost/test_measure.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if gone := [name for name in LONGEST if not (TESTS / name).is_file()]:
        raise pytest.UsageError(f"tests/conftest.py names what is not there: {', '.join(gone)}")
    rank = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish() -> None:
    """Each collection of garbage would walk all that was imported, and tests of networks collect often."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What is frozen is not freed at the end of the process, which some libraries complain of."""
    gc.unfreeze()
