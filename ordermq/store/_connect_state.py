"""The SQLSTATE with which a server refuses a connection, which psycopg2 hands on only as a text.

The text is in the language of the server (``lc_messages``). libpq can be told to give the code in its
place, but only between the start of a connection and its end, and psycopg2 has no call for that.
"""

import ctypes
import re
import select
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE
from psycopg2.extensions import connection as Connection

from ordermq.clock import Deadline

_PQERRORS_SQLSTATE = 3
_CODE = re.compile(r": +([0-9A-Z]{5})\s*$")


def connect_state(parameters: dict[str, Any], timeout_s: float) -> str:
    """Connect once more, for at most ``timeout_s`` seconds, only to learn the code; "" if there is none."""
    try:
        connection: Connection = psycopg2.connect(**parameters, async_=True)
        try:
            libpq = ctypes.CDLL(psycopg2._psycopg.__file__)
            libpq.PQsetErrorVerbosity(ctypes.c_void_p(connection.pgconn_ptr), _PQERRORS_SQLSTATE)
            _wait(connection, Deadline(timeout_s))
        finally:
            connection.close()
    except psycopg2.Error as exc:
        found = _CODE.search(str(exc))
        return found.group(1) if found else ""
    except (AttributeError, OSError):  # a psycopg2 built in another way
        return ""
    return ""


def _wait(connection: Connection, deadline: Deadline) -> None:
    while (state := connection.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(
            connection.fileno(), {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}.get(state, 0)
        )
        if deadline.has_passed or not poller.poll(1000 * deadline.left_s):
            return
