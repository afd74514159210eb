"""How commands are served: by the Python that has the packages."""

from pathlib import Path

from bench import command


def test_the_projects_own_environment_is_used_where_another_python_lacks_the_packages(tmp_path: Path) -> None:
    assert command.environment(tmp_path, "/usr/bin/python3") == ""
    python = tmp_path / ".venv" / "bin" / "python"
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    assert command.environment(tmp_path, "/usr/bin/python3") == str(python)
    assert command.environment(tmp_path, str(python)) == "", "it lacks them itself: that is an error"
