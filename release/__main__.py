"""``python -m release``: everything of a release into dist/, each piece checked.

constraints.txt            each package that ordermq needs, in one version, with hashes
ordermq-VERSION-*.whl      the wheel, built twice with the same bytes
ordermq-VERSION.tar.gz     the source archive
ordermq-VERSION.cdx.json   what is in an installation: a CycloneDX bill of materials
audit.json                 what pip-audit knows of those packages, or that it could not be asked
SHA256SUMS                 of all of these
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from release import audit, build, constraints, installation, sbom, sums
from release.failure import ReleaseFailed
from release.source import ROOT, Source

DIST = ROOT / "dist"


def main() -> int:
    """Make the release; return 1 if a check fails."""
    try:
        with tempfile.TemporaryDirectory(prefix="ordermq-dist-") as work:
            _make(Path(work))
    except ReleaseFailed as exc:
        print(f"dist: {exc}", file=sys.stderr)
        return 1
    return 0


def _make(work: Path) -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    source = Source.of_checkout()
    _say(f"sources: {source}")
    pins = constraints.write(DIST / "constraints.txt")
    _say(f"constraints.txt: {len(pins)} packages, {sum(map(len, pins.values()))} hashes")
    wheel, sdist = build.wheel_and_sdist(source, work, DIST)
    _say(f"{wheel.name}: built twice, in two folders, the same bytes")
    _say(f"{sdist.name}: the source archive")
    python = installation.make(work / "venv", DIST / "constraints.txt", wheel)
    _say("installed from dist/ with pip --require-hashes into an empty environment: it starts")
    bill = sbom.write(DIST, python, pins, source)
    _say(f"{bill.name}: {sbom.count(bill)} components, valid by the schema of CycloneDX {sbom.SCHEMA}")
    answer = audit.write(DIST / "audit.json", DIST / "constraints.txt")
    _say(f"audit.json: {answer}")
    sums.write(DIST)
    if answer.is_missing and os.environ.get("AUDIT") == "required":
        raise ReleaseFailed("AUDIT=required, and pip-audit could not ask for every package")


def _say(text: str) -> None:
    print(f"dist: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
