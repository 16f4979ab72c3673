"""What every program of a sample begins and ends with."""

import json
import os
import sys
from typing import Any


def read_job() -> dict[str, Any]:
    """Return the job that stands on standard input."""
    job: dict[str, Any] = json.load(sys.stdin)
    return job


def answer(**values: Any) -> None:
    """Say what came of it; the last thing a program writes to standard output."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def worker_job() -> dict[str, Any]:
    """Return the job of a program that reads no standard input: a peer's worker."""
    job: dict[str, Any] = json.loads(os.environ["BENCHMARK_JOB"])
    return job
