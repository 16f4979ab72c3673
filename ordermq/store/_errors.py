"""psycopg2's exceptions become ordermq's, by SQLSTATE (PostgreSQL appendix A).

``CLASSES`` names every class of codes that PostgreSQL 18 has. A code of no class, as an extension may
invent one, is a StoreError: it counts as a failure of the message.

StoreUnavailable, ...    the server's own trouble, or the session's: no message is at fault
Contention               one transaction was too slow, or met another
DataRefused              the values themselves were refused
StoreError               anything else that a statement may do wrong

psycopg2 hands on no code for a session that the server ended (25P03, 25P04, 57P01, 57P05): the error
says only that the connection is closed. Those codes stand here for statements that raise them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg2

from ordermq.errors import (
    Contention,
    DataRefused,
    DiskFull,
    ReadOnlyServer,
    SchemaOutdated,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)

_NO_PRIVILEGE = "42501"

# By class (two characters) or by code (five); the longest that fits decides.
CLASSES: Mapping[str, type[StoreError]] = {
    "00": StoreError,  # successful completion
    "01": StoreError,  # warning
    "02": StoreError,  # no data
    "03": StoreError,  # SQL statement not yet complete
    "08": SessionLost,  # connection exception; a pooler says 08P01
    "09": StoreError,  # triggered action exception
    "0A": StoreError,  # feature not supported
    "0B": StoreError,  # invalid transaction initiation
    "0F": StoreError,  # locator exception
    "0L": StoreError,  # invalid grantor
    "0P": StoreError,  # invalid role specification
    "0Z": StoreError,  # diagnostics exception
    "10": DataRefused,  # XQuery error
    "20": StoreError,  # case not found
    "21": StoreError,  # cardinality violation
    "22": DataRefused,  # data exception
    "23": DataRefused,  # integrity constraint violation
    "24": StoreError,  # invalid cursor state
    "25": StoreError,  # invalid transaction state
    "25006": ReadOnlyServer,
    "25P03": Contention,  # idle in a transaction for too long
    "25P04": Contention,  # a transaction that lasted too long
    "26": StoreError,  # invalid SQL statement name
    "27": StoreError,  # triggered data change violation
    "28": StoreRefused,  # invalid authorization specification
    "2B": StoreError,  # dependent privilege descriptors still exist
    "2D": StoreError,  # invalid transaction termination
    "2F": StoreError,  # SQL routine exception
    "34": StoreError,  # invalid cursor name
    "38": StoreError,  # external routine exception
    "39": StoreError,  # external routine invocation exception
    "3B": StoreError,  # savepoint exception
    "3D": StoreRefused,  # invalid catalog name: no such database
    "3F": SchemaOutdated,  # invalid schema name
    "40": Contention,  # transaction rollback: deadlock, serialization
    "42": StoreError,  # syntax error or access rule violation
    _NO_PRIVILEGE: StoreRefused,
    "42703": SchemaOutdated,  # undefined column
    "42883": SchemaOutdated,  # undefined function
    "42P01": SchemaOutdated,  # undefined table
    "44": DataRefused,  # WITH CHECK OPTION violation
    "53": StoreUnavailable,  # insufficient resources: connections, memory
    "53100": DiskFull,
    "54": DataRefused,  # program limit exceeded
    "55": StoreError,  # object not in prerequisite state
    "55P03": Contention,  # lock not available
    "57": StoreUnavailable,  # operator intervention
    "57014": Contention,  # statement timeout, or cancelled by a person
    "58": StoreUnavailable,  # system error, outside PostgreSQL
    "72": Contention,  # snapshot too old; until PostgreSQL 16
    "F0": StoreUnavailable,  # configuration file error
    "HV": StoreError,  # foreign data wrapper error
    "P0": StoreError,  # PL/pgSQL error
    "P0001": DataRefused,  # RAISE without a code of its own: a rule of the project's
    "XX": StoreUnavailable,  # internal error, damaged data or index
}
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


@contextmanager
def translated() -> Iterator[None]:
    """Re-raise psycopg2's exceptions on an open connection as a StoreError with the original as its cause."""
    try:
        yield
    except psycopg2.Error as exc:
        raise translate(exc) from exc
    except (ValueError, UnicodeEncodeError) as exc:
        # A NUL or a lone surrogate in a parameter: psycopg2 refuses it before sending.
        raise DataRefused(f"a value cannot be stored: {exc}") from exc


def translate(error: psycopg2.Error) -> StoreError:
    """Return the StoreError that says what to do about an ``error`` of a statement."""
    if _is_unanswered(error):
        return SessionLost(f"the session on PostgreSQL ended: {_text(error)}")
    state = error.pgcode or ""
    todo = "; 'ordermq db grants' prints what each role needs" if state == _NO_PRIVILEGE else ""
    return kind_of(state)(f"{_text(error)} [{state}]{todo}", state)


def translate_connecting(
    error: psycopg2.Error,
    refusal: Callable[[], str] = str,
    tls_advice: Callable[[str], str] = lambda said: "",
) -> StoreError:
    """Return the StoreError that says what to do about an ``error`` of opening a connection.

    ``refusal`` returns the SQLSTATE that the text of the error does not tell, as it is not in English.
    ``tls_advice`` returns what to do where the text is about a certificate, "" for any other.
    """
    if not _is_unanswered(error):
        return translate(error)
    if advice := tls_advice(str(error)):
        return StoreRefused(f"PostgreSQL refused the connection: {_text(error)}: {advice}")
    if any(hint in str(error) for hint in _REFUSED_HINTS) or kind_of(refusal()) is StoreRefused:
        return StoreRefused(f"PostgreSQL refused the connection: {_text(error)}")
    return StoreUnavailable(f"PostgreSQL is not reachable: {_text(error)}")


def kind_of(sqlstate: str) -> type[StoreError]:
    """Return the type of error that a SQLSTATE stands for."""
    found = (CLASSES.get(sqlstate[:length]) for length in (5, 2))
    return next((kind for kind in found if kind is not None), StoreError)


def _is_unanswered(error: psycopg2.Error) -> bool:
    # When a TLS connection breaks, psycopg2 raises a plain DatabaseError.
    is_broken = isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError
    return (is_broken and not error.pgcode) or isinstance(error, psycopg2.InterfaceError)


def _text(error: psycopg2.Error) -> str:
    # Only the primary message: DETAIL and CONTEXT repeat row values, which may be personal data.
    primary = error.diag.message_primary if error.diag else None
    lines = (primary or str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
