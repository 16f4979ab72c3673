"""The two folders of a stack. There are two so that root never writes where another account may.

``state`` belongs to the user who starts the stack, is closed to all others, and holds
pid files, generated passwords and logs. ``data`` belongs to the starter too, but
the servers' account may pass through it to the folders given to it; once given,
nothing is written there by anyone else.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordermq.testing.stack.account import Account
from ordermq.testing.stack.errors import StackError


@dataclass(frozen=True)
class Place:
    """The folders of one stack and the account its servers run as."""

    state: Path
    data: Path
    account: Account

    @classmethod
    def beside(cls, state: Path, account: Account) -> "Place":
        """The place of the devstack whose state lies in ``state``; created if it is new.

        For root the data lies in /var/tmp, because the account may be unable to reach
        ``state``: a checkout often lies under a home folder. Raises StackError if what
        exists there is not the caller's own.
        """
        state = state.resolve()
        own_folder(state, 0o700)
        data = state / "data"
        if account.is_other:
            name = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
            data = Path("/var/tmp") / f"ordermq-{name}"  # noqa: S108 # ownership is checked by own_folder
        own_folder(data, 0o711)
        return cls._made(state, data, account)

    @classmethod
    def temporary(cls, account: Account) -> "Place":
        """A new place under the system's folder for temporary files."""
        data = Path(tempfile.mkdtemp(prefix="ordermq-"))
        data.chmod(0o711)
        own_folder(data / "state", 0o700)
        return cls._made(data / "state", data, account)

    @classmethod
    def existing(cls, state: Path, account: Account) -> "Place":
        """The place whose state lies in ``state``. Raises StackError if there is none, or not one's own."""
        state = state.resolve()
        try:
            data = Path(json.loads((state / "place.json").read_text())["data"])
        except (FileNotFoundError, NotADirectoryError):
            raise StackError(f"no stack was ever started in {state}; 'devstack up' starts one") from None
        except PermissionError as exc:
            raise StackError(f"the stack in {state} belongs to another user") from exc
        own_folder(state, 0o700)
        own_folder(data, 0o711)
        return cls(state, data, account)

    @classmethod
    def _made(cls, state: Path, data: Path, account: Account) -> "Place":
        place = cls(state, data, account)
        place.remember("place", {"data": str(data)})
        return place

    def given_folder(self, name: str) -> Path:
        """The folder ``name`` of the servers' account, created empty if it is missing."""
        path = self.data / name
        if not path.exists():
            path.mkdir(mode=0o700)
            self.account.give(path)
        return path

    def readable_file(self, name: str, text: str) -> Path:
        """Write a file that only the caller may change and only the account may read besides."""
        path = self.data / name
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            if self.account.is_other:
                os.fchown(file.fileno(), -1, self.account.gid)
                os.fchmod(file.fileno(), 0o640)
        return path

    def remembered(self, name: str) -> dict[str, Any] | None:
        """What ``remember`` wrote under this name; None if nothing yet."""
        try:
            remembered: dict[str, Any] = json.loads((self.state / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return remembered

    def remember(self, name: str, values: dict[str, Any]) -> None:
        """Keep ``values`` for the next process; a reader sees the old ones or the new, never half."""
        path = self.state / f"{name}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(values, indent=1))
        new.replace(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing what is here meanwhile; waits for theirs to end."""
        path = self.state / "lock"
        while True:
            own_folder(self.state, 0o700)
            own_folder(self.data, 0o711)
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # While we waited the holder may have wiped the place, and this file with it.
                if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue
                self.remember("place", {"data": str(self.data)})
                yield
                return

    def wipe(self) -> None:
        """Delete everything in both folders, and the folders."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)


def own_folder(path: Path, mode: int) -> None:
    """Create a folder of the caller's own, or check that it is one: no link, no other user's.

    /var/tmp and a shared checkout are writable to others, who could have put a link or
    a folder of theirs there. Raises StackError.
    """
    try:
        path.mkdir(mode=mode, parents=False)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise StackError(
                f"{path} exists and is not a folder of user {os.geteuid()}; delete it or run as its owner"
            ) from None
    except OSError as exc:
        raise StackError(f"cannot create {path}: {exc.strerror}") from exc
    path.chmod(mode)
