"""Free TCP ports on 127.0.0.1.

Taken below the range the kernel gives to outgoing connections (32768 and up):
there, a client that keeps trying to reconnect to a stopped server's port can be
given that very port as its own and connect to itself, and the server then cannot
bind it.
"""

import random
import socket
from contextlib import closing

FIRST, LAST = 20_000, 32_000

_given: set[int] = set()  # by this process: the servers of a stack are given theirs before any listens


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    with closing(socket.socket()) as probe:
        # As servers do it: connections in TIME_WAIT do not count, listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def is_open(port: int, timeout_s: float = 1.0, *, address: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on ``port`` of ``address``."""
    try:
        with closing(socket.create_connection((address, port), timeout_s)):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """``count`` different free ports, chosen at random so that two stacks starting at once differ.

    They are only free now, not reserved, and no other call of this process is given the same.
    Raises OSError when no more can be found.
    """
    found: list[int] = []
    # A generator of its own: a test run that seeds the global one must not give every stack the same ports.
    for port in random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        if port not in _given and is_free(port):
            found.append(port)
            if len(found) == count:
                _given.update(found)
                return found
    raise OSError(f"fewer than {count} free ports between {FIRST} and {LAST}")
