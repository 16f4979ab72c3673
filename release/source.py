"""The files a release is made from: those that git knows, as they are now, and the time they bear."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_DEFAULT_EPOCH = 1_767_225_600  # 2026-01-01: of an archive without git, when SOURCE_DATE_EPOCH is not set


@dataclass(frozen=True)
class Source:
    """``epoch`` is SOURCE_DATE_EPOCH, or when HEAD was committed; ``commit`` "" without git."""

    files: tuple[str, ...]
    commit: str
    epoch: int
    changed: int

    @classmethod
    def of_checkout(cls) -> "Source":
        """Read which files there are. A file that git does not know is left out."""
        commit = _git("rev-parse", "HEAD").strip()
        if commit:
            files = tuple(
                sorted(name for name in _git("ls-files", "-z").split("\0") if (ROOT / name).is_file())
            )
            changed = len(_git("status", "--porcelain").splitlines())
            committed = int(_git("log", "-1", "--format=%ct"))
        else:
            found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
            files = tuple(sorted(str(path) for path in found if not _is_made(path)))
            changed, committed = 0, _DEFAULT_EPOCH
        return cls(files, commit, int(os.environ.get("SOURCE_DATE_EPOCH", committed)), changed)

    def copy_to(self, folder: Path) -> Path:
        """Copy the files, each with the same mode wherever that is done, and return ``folder``."""
        for name in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(0o755 if os.access(ROOT / name, os.X_OK) else 0o644)
            os.utime(target, (self.epoch, self.epoch))
        return folder

    def __str__(self) -> str:
        of = f"commit {self.commit[:12]}" if self.commit else "no commit"
        changes = f", {self.changed} files differ from it: no release of it" if self.changed else ""
        return f"{len(self.files)} files of {of}{changes}"


def _is_made(path: Path) -> bool:
    return path.parts[0] in ("dist", "build") or any(
        part.startswith((".venv", ".git"))
        or part in ("__pycache__", ".devstack")
        or part.endswith(".egg-info")
        for part in path.parts
    )


def _git(*args: str) -> str:
    try:
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
