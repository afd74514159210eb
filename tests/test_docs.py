"""The table of faults names tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def test_every_test_that_the_table_of_faults_names_is_in_the_file_that_it_names() -> None:
    text = (TESTS.parent / "docs" / "faults.md").read_text()
    head, _, table = text.partition("| fault | how it is handled | test |")
    files = dict(re.findall(r"`(\w+)` is\s+`([\w/]+\.py)`", head))
    named = [row.split(" | ")[2] for row in table.partition("\n\n")[0].splitlines() if row.count(" | ") == 2]
    found = re.findall(r"(?:`([\w/]+\.py)`|(\w+)): (`\w+`(?:, `\w+`)*)", " ; ".join(named))
    assert len(found) > 40
    for path, alias, tests in found:
        text = (TESTS / (path or files[alias])).read_text()
        for name in re.findall(r"\w+", tests):
            assert f"def test_{name}(" in text, (path or alias, name)
