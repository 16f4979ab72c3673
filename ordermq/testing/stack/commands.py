"""ordermq's own commands, run to their end in processes of their own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ordermq.testing.stack.errors import StackError


def program(name: str) -> str:
    """Return the path of one of ordermq's commands, beside the Python that runs this."""
    return str(Path(sys.executable).parent / name)


def run_command(
    *argv: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    cwd: Path | None = None,
    timeout_s: float = 300.0,
    check: bool = True,
) -> "subprocess.CompletedProcess[str]":
    """Run ``argv``, which begins with a command of ordermq, and return it with its output as text.

    Blocks until it has ended. Raises StackError if it takes longer than ``timeout_s``, and, with
    ``check``, if its exit code is not 0.
    """
    try:
        done = subprocess.run(
            [program(argv[0]), *argv[1:]], env=dict(env), input=stdin, cwd=cwd, capture_output=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise StackError(f"{' '.join(argv)} did not end within {timeout_s:g} s") from exc
    output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise StackError(f"{' '.join(argv)} ended with {done.returncode}:\n{output[-1000:]}{errors[-3000:]}")
    return subprocess.CompletedProcess(done.args, done.returncode, output, errors)
