"""Runs a server and its tools with another /usr or in another network than the machine's.

Entering takes root, so a program that is enclosed takes its account afterwards, by
``setpriv``. Every step replaces itself by the next one: the process that was started is
the program in the end, with the same pid and start time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ordermq.testing.stack.account import Account

# Only this process and those it starts see the mount. All other paths stay as they are.
_WITH_OTHER_USR = 'mount --bind "$0" /usr && exec "$@"'


@dataclass(frozen=True)
class Enclosure:
    """Surroundings of a program; the default ones are the machine's."""

    #: Folder seen as /usr.
    usr: Path | None = None
    #: Name of a network namespace (``ip netns``).
    network: str = ""

    @property
    def is_entered(self) -> bool:
        """Whether there is anything to enter, and so ``command`` takes the account itself."""
        return self.usr is not None or bool(self.network)

    def command(self, argv: Sequence[str], account: Account) -> list[str]:
        """Return ``argv`` made to run inside, as ``account``; unchanged if there is nothing to enter."""
        if not self.is_entered:
            return list(argv)
        enter: list[str] = []
        if self.network:
            enter += ["nsenter", f"--net=/run/netns/{self.network}", "--"]
        if self.usr is not None:
            enter += ["unshare", "--mount", "--propagation", "private", "--"]
            enter += ["sh", "-c", _WITH_OTHER_USR, str(self.usr)]
        identity = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        return [*enter, "setpriv", *identity, "--", *argv]
