"""The wheel, built twice with the same bytes, and the source archive.

The two builds differ in their folder, time zone, locale and hash seed. What they share is the version of
setuptools and wheel: another one may write other bytes.
"""

import gzip
import io
import shutil
import sys
import tarfile
from pathlib import Path

from release.failure import ReleaseFailed, run
from release.source import Source

_ELSEWHERE = (
    {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "4711"},
)


def wheel_and_sdist(source: Source, work: Path, target: Path) -> tuple[Path, Path]:
    """Build both into ``target``. Raises ReleaseFailed if two builds of the wheel differ."""
    wheels = [wheel(source, work / f"{number}{'x' * number}", env) for number, env in enumerate(_ELSEWHERE)]
    if wheels[0].read_bytes() != wheels[1].read_bytes():
        raise ReleaseFailed(f"two builds of {wheels[0].name} differ; compare {wheels[0]} and {wheels[1]}")
    folder = source.copy_to(work / "sdist")
    _build("--sdist", folder, work / "sdist-made", source, {})
    made = next((work / "sdist-made").glob("*.tar.gz"))
    (target / made.name).write_bytes(normalised(made, source.epoch))
    return Path(shutil.copy(wheels[0], target)), target / made.name


def wheel(source: Source, folder: Path, env: dict[str, str]) -> Path:
    """Build the wheel from a copy of the sources below ``folder``."""
    _build("--wheel", source.copy_to(folder / "source"), folder / "made", source, env)
    return next((folder / "made").glob("*.whl"))


def normalised(archive: Path, epoch: int) -> bytes:
    """Return a source archive with sorted members that bear one time and no owner."""
    made = io.BytesIO()
    with (
        tarfile.open(archive) as given,
        gzip.GzipFile(fileobj=made, mode="wb", filename="", mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as written,
    ):
        for member in sorted(given.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            written.addfile(member, given.extractfile(member) if member.isfile() else None)
    return made.getvalue()


def _build(kind: str, folder: Path, out: Path, source: Source, env: dict[str, str]) -> None:
    argv = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", out, folder]
    run(argv, env={"SOURCE_DATE_EPOCH": str(source.epoch), **env})
