"""The one error of this package, and programs that end in it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ReleaseFailed(Exception):
    """A piece of the release cannot be made, or a check of it fails; the text says which and why."""


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Return the standard output of a program. Raises ReleaseFailed with the end of what it said."""
    environment = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, umask=0o022, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as exc:
        raise ReleaseFailed(f"{argv[0]} is missing: run `make dist`, which installs it") from exc
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ReleaseFailed(f"{' '.join(map(str, argv))} failed:\n{said}")
    return done.stdout
