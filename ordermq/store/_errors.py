"""psycopg2's exceptions become ordermq's, by SQLSTATE (PostgreSQL appendix A)."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from ordermq.errors import (
    Contention,
    DataRefused,
    DiskFull,
    SchemaOutdated,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)

# Class 08 connection, 53 out of resources (too many connections, memory), 57P operator
# intervention (shutdown, terminated), 58 system error outside PostgreSQL, 25006 read-only: a
# standby answered, as after a failover.
_UNAVAILABLE = ("08", "53", "57P", "58", "25006")
_DISK_FULL = ("53100",)
# Class 40 deadlock and serialization, 55P03 lock timeout, 57014 statement timeout, 25P03 idle
# in transaction: one transaction was slow or met another; the server works.
_CONTENTION = ("40", "55P03", "57014", "25P03")
_REFUSED = ("28", "3D", "42501")
_SCHEMA = ("42P01", "42703", "3F000", "42883")
# libpq gives no SQLSTATE for a connection that was refused.
_REFUSED_HINTS = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf",
    "permission denied",
    "not permitted to log in",
    "does not support SSL",
    "certificate verify failed",
    "does not match host name",
)
_DATA = ("22", "23", "54", "P0001")


@contextmanager
def translated() -> Iterator[None]:
    """Re-raise exceptions of psycopg2 as a StoreError with the original as its cause."""
    try:
        yield
    except psycopg2.Error as exc:
        raise translate(exc) from exc
    except (ValueError, UnicodeEncodeError) as exc:
        # A NUL or a lone surrogate in a parameter: psycopg2 refuses it before sending.
        raise DataRefused(f"a value cannot be stored: {exc}") from exc


def translate(error: psycopg2.Error) -> StoreError:
    """Return the StoreError that says what to do about ``error``."""
    state = error.pgcode or ""
    text = _text(error)
    # libpq gives no SQLSTATE. When a TLS connection breaks, psycopg2 raises a plain DatabaseError.
    if not state and (isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError):
        if any(hint in str(error) for hint in _REFUSED_HINTS):
            return StoreRefused(f"PostgreSQL refused the connection: {text}")
        return StoreUnavailable(f"PostgreSQL is not reachable: {text}")
    if isinstance(error, psycopg2.InterfaceError):
        return StoreUnavailable(f"connection to PostgreSQL is closed: {text}")
    for prefixes, kind in (
        (_CONTENTION, Contention),
        (_DISK_FULL, DiskFull),
        (_UNAVAILABLE, StoreUnavailable),
        (_REFUSED, StoreRefused),
        (_SCHEMA, SchemaOutdated),
        (_DATA, DataRefused),
    ):
        if state.startswith(prefixes):
            return kind(f"{text} [{state}]")
    return StoreError(f"{text} [{state}]")


def _text(error: psycopg2.Error) -> str:
    # Only the primary message: DETAIL and CONTEXT repeat row values, which may be personal data.
    primary = error.diag.message_primary if error.diag else None
    lines = (primary or str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
