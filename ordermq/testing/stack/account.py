"""The account of the servers: the caller's, or an unprivileged one if the caller is root.

PostgreSQL refuses to run as root, and wants an account that has a name.
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordermq.testing.stack.errors import StackError

#: The package of PostgreSQL's server makes ``postgres``; every system has ``nobody``.
CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who a server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether it is another account than the caller's."""
        return self.uid != os.geteuid()

    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments that make ``subprocess`` run a program as this account."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, *paths: Path) -> None:
        """Make the account the owner of ``paths``, links not followed."""
        if self.is_other:
            for path in paths:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_account() -> Account:
    """The account for servers started by this process. Raises StackError if there is none."""
    if os.geteuid() != 0:
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise StackError(
                f"user id {os.geteuid()} has no entry in the password database, which PostgreSQL needs"
            ) from None
        return Account(name, os.geteuid(), os.getegid())
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackError(f"root cannot run PostgreSQL, and none of the accounts {', '.join(CANDIDATES)} exists")
