"""What ``mypy --strict`` says of a user's handlers: the files of tests/typing.

In a refused file the comment ``# E: words`` stands above each line that mypy must refuse, with
words of what it says there. Nothing else may be refused, and nothing in an accepted file.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))

_ERROR = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): error: (?P<text>.*)")


@pytest.fixture(scope="module")
def errors():
    """Return what mypy says, by file name and line. One run for all files: starting is what takes long."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "setup.cfg", "tests/typing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    found = [match for line in done.stdout.splitlines() if (match := _ERROR.match(line))]
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {(Path(each["path"]).name, int(each["line"])): each["text"] for each in found}


def expected(path):
    """Return the words that stand above lines, by line."""
    lines = path.read_text().splitlines()
    return {
        number + 1: line.partition("# E: ")[2]
        for number, line in enumerate(lines, start=1)
        if line.lstrip().startswith("# E: ")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_refuses_what_is_marked_and_nothing_else(path, errors):
    said = {line: text for (name, line), text in errors.items() if name == path.name}
    wanted = expected(path)
    assert path.stem.startswith("refused") == bool(wanted)
    assert sorted(said) == sorted(wanted), said
    for line, words in wanted.items():
        assert words in said[line], f"{path.name}:{line}"
