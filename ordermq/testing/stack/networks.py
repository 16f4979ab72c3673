"""A network of its own for each node of a cluster. It can be cut without closing a connection.

One network namespace a node, all plugged into a bridge in one more namespace, and so is this
machine. Takes root, ``ip`` and ``nft``; nothing is filtered or forwarded in the machine's
own network.

    here: link 198.18.n.254 ──┐
    node 1: e0 198.18.n.1 ────┤ bridge, ports v0 v1 v2 ...
    node 2: e0 198.18.n.2 ────┘
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence

from ordermq.testing.stack.errors import ProgramMissing, StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.programs import PATH

_HERE = 254
_SILENCE = """
add table inet silence
add chain inet silence in { type filter hook input priority 0; policy accept; }
add chain inet silence out { type filter hook output priority 0; policy accept; }
add rule inet silence in iif e0 drop
add rule inet silence out oif e0 drop
"""


def why_not() -> str:
    """Return why networks cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    if missing := [name for name in ("ip", "nft", "nsenter") if shutil.which(name, path=PATH) is None]:
        return f"{', '.join(missing)} not installed: apt-get install iproute2 nftables util-linux"
    tried = _run(["unshare", "--net", "nft", "add", "table", "inet", "silence"])
    return f"this kernel filters nothing: {tried.stderr.strip()[:200]}" if tried.returncode else ""


class Networks:
    """Networks numbered from 1. Made at once; ``delete`` removes every trace."""

    def __init__(self, place: Place, count: int) -> None:
        """Make them. Raises ProgramMissing where they cannot be made. ``place``'s guard deletes them too."""
        if reason := why_not():
            raise ProgramMissing(reason)
        self.count = count
        self._name = f"omq{secrets.token_hex(4)}"
        # Meant for tests of networks (RFC 2544): in use nowhere.
        self._prefix = f"198.{secrets.choice((18, 19))}.{secrets.randbelow(256)}"
        self._switch = self.name(0)
        place.remember("networks", {"names": [self.name(number) for number in range(count + 1)]})
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        self._plug(0, "")
        for number in range(1, count + 1):
            _ip("netns", "add", self.name(number))
            _ip("-n", self.name(number), "link", "set", "lo", "up")
            self._plug(number, self.name(number))

    def name(self, number: int) -> str:
        """Name of the network namespace."""
        return f"{self._name}-{number}"

    def address(self, number: int) -> str:
        """The one address in it that others reach."""
        return f"{self._prefix}.{number or _HERE}"

    def silence(self, number: int) -> None:
        """Drop what comes into a network and what goes out: a partition that closes no connection."""
        _nft(self.name(number), _SILENCE)

    def heal(self, number: int) -> None:
        """End ``silence``."""
        _nft(self.name(number), "delete table inet silence")

    def unplug(self, number: int) -> None:
        """Pull the plug at the bridge: the other side of every connection sees nothing of it."""
        _ip("-n", self._switch, "link", "set", f"v{number}", "down")

    def plug(self, number: int) -> None:
        """End ``unplug``."""
        _ip("-n", self._switch, "link", "set", f"v{number}", "up")

    def delete(self) -> None:
        """Remove all of it; connections and programs in it are left without a network."""
        delete([self.name(number) for number in range(self.count + 1)])

    def _plug(self, number: int, network: str) -> None:
        inside = "e0" if network else self._name
        veth = ["type", "veth", "peer", "name", inside, "netns", network or str(os.getpid())]
        _ip("-n", self._switch, "link", "add", f"v{number}", *veth)
        _ip("-n", self._switch, "link", "set", f"v{number}", "master", "bridge", "up")
        within = ["-n", network] if network else []
        _ip(*within, "addr", "add", f"{self.address(number)}/24", "dev", inside)
        _ip(*within, "link", "set", inside, "up")


def delete(names: Sequence[str]) -> None:
    """Delete networks by their names; not an error if there are none."""
    for name in names:
        _run(["ip", "netns", "delete", name])


def _ip(*args: str) -> None:
    done = _run(["ip", *args])
    if done.returncode:
        raise StackError(f"ip {' '.join(args)}: {done.stderr.strip()}")


def _nft(network: str, commands: str) -> None:
    done = _run(["ip", "netns", "exec", network, "nft", "-f", "-"], commands)
    if done.returncode:
        raise StackError(f"nft in {network}: {done.stderr.strip()}")


def _run(argv: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, input=text, env={"PATH": PATH}, capture_output=True, text=True, timeout=30, check=False
    )
