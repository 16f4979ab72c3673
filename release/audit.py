"""What pip-audit knows of the pinned packages. It asks a service, which may be out of reach."""

import json
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.failure import ReleaseFailed


@dataclass(frozen=True)
class Answer:
    """How many packages were looked up, and why the others were not."""

    asked: int
    missing: int
    reason: str = ""

    @property
    def is_missing(self) -> bool:
        return self.missing > 0

    def __str__(self) -> str:
        if not self.is_missing:
            return f"{self.asked} packages, no vulnerability is known"
        return (
            f"NOT AUDITED: {self.missing} of {self.asked + self.missing} packages could not be looked up"
            f" ({self.reason}); run `make dist AUDIT=required` where pip-audit's service can be reached"
        )


def write(path: Path, constraints: Path) -> Answer:
    """Ask, and keep the answer. Raises ReleaseFailed naming each vulnerability that is known."""
    argv = [
        Path(sysconfig.get_path("scripts")) / "pip-audit", "--requirement", constraints, "--require-hashes",
        "--disable-pip", "--progress-spinner", "off", "--format", "json", "--output", path,
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        report = {"dependencies": [], "not_audited": f"pip-audit exited with {done.returncode}: {said[:200]}"}
        path.write_text(json.dumps(report, indent=1) + "\n")
        pinned = sum(
            line.count("==") for line in constraints.read_text().splitlines() if not line.startswith("#")
        )
        return Answer(0, pinned, report["not_audited"])
    return answer(report)


def answer(report: dict[str, Any]) -> Answer:
    """Read a report of pip-audit. Raises ReleaseFailed if it names a vulnerability."""
    packages = report["dependencies"]
    found = [
        f"{each['name']} {each['version']}: {bug['id']}, fixed in {', '.join(bug['fix_versions']) or 'none'}"
        for each in packages
        for bug in each.get("vulns", [])
    ]
    if found:
        raise ReleaseFailed("pip-audit knows of these; raise them in setup.cfg:\n" + "\n".join(found))
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    return Answer(len(packages) - len(skipped), len(skipped), skipped[0] if skipped else "")
