"""Opening a connection to PostgreSQL on which every wait is bounded, also behind a pooler.

The limits travel as libpq's ``options`` where the server takes them. PgBouncer refuses those, or is
told to drop them; and in transaction mode a SET would reach another client's session. So where the
limits are not in force after connecting, each transaction begins with SET LOCAL, in the same round trip.
"""

from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ordermq.config.settings import DatabaseSettings
from ordermq.store._connect_state import connect_state
from ordermq.store.tls import check_files

BEGIN = b"BEGIN"
_POOLER_REFUSES = "unsupported startup parameter"  # PgBouncer's words; it speaks English only
# A limit of PostgreSQL 17. It is off, because ordermq bounds each statement and each idle time instead.
_WHOLE = "transaction_timeout"


def connect(settings: DatabaseSettings, *, name: str) -> Connection:
    """Open a psycopg2 connection in autocommit mode. Raises psycopg2.Error, or ConfigError for a file.

    Password and certificates are read anew. Of several hosts it is the first that takes writes.
    """
    check_files(settings)
    try:
        connection = _connect(settings, name, options=_options(settings))
    except psycopg2.OperationalError as exc:
        if _POOLER_REFUSES not in str(exc):
            raise
        connection = _connect(settings, name)
    connection.autocommit = True
    return connection


def begin_statement(connection: Connection, settings: DatabaseSettings) -> bytes:
    """Return the statement that begins each transaction of ``connection``, with every limit in force.

    Anything longer than BEGIN says that the limits are not the session's: a pooler is in between.
    """
    limits = _limits(settings)
    with connection.cursor(cursor_factory=Cursor) as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", ([*limits, _WHOLE],))
        known = dict(cursor.fetchall())
        has_whole = known.pop(_WHOLE, None) is not None
        if known == limits:
            if has_whole:
                cursor.execute(f"SET {_WHOLE} = 0")
            return BEGIN
        _try_transaction(cursor)
    wanted = {**limits, "timezone": "UTC", **({_WHOLE: "0"} if has_whole else {})}
    sets = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in wanted.items())
    return f"BEGIN ISOLATION LEVEL READ COMMITTED{sets}".encode()


def _try_transaction(cursor: Cursor) -> None:
    """Raise OperationalError if the pooler in between takes no transaction; it ends the session then."""
    try:
        cursor.execute("BEGIN")  # alone: it looks at each answer, and only one in a transaction is refused
        cursor.execute("COMMIT")
    except psycopg2.Error as exc:
        raise psycopg2.OperationalError(
            "the pooler ended the session at BEGIN. If it does so each time, it is in statement mode: ordermq"
            " needs transactions; set pool_mode = transaction"
        ) from exc


def refusal(error: psycopg2.Error, settings: DatabaseSettings, *, name: str) -> str:
    """Return the SQLSTATE with which the server refused a connection; "" if it did not answer.

    Asks the server once more, for at most ``connect_timeout_s``: the text of ``error`` has no code.
    """
    # libpq writes "SEVERITY:  text" of what a server said, in whatever language, and nothing else so.
    if error.pgcode or ":  " not in str(error):
        return error.pgcode or ""
    return connect_state(_parameters(settings, name), settings.connect_timeout_s)


def _connect(settings: DatabaseSettings, name: str, *, options: str | None = None) -> Connection:
    connection: Connection = psycopg2.connect(**_parameters(settings, name), options=options)
    return connection


def _parameters(settings: DatabaseSettings, name: str) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "dbname": settings.name,
        "user": settings.username,
        "password": settings.password.reveal() or None,
        "sslmode": settings.sslmode,
        "sslrootcert": settings.ca_file or None,
        "sslcrl": settings.crl_file or None,
        "sslcert": settings.cert_file or None,
        "sslkey": settings.key_file or None,
        "ssl_min_protocol_version": "TLSv1.2",
        "connect_timeout": settings.connect_timeout_s,
        "application_name": name[:63],
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "client_encoding": "UTF8",
        "target_session_attrs": "read-write" if len(settings.hosts) > 1 else None,
    }


def _options(settings: DatabaseSettings) -> str:
    limits = " ".join(f"-c {name}={value}" for name, value in _limits(settings).items())
    # Not by set_session(): psycopg2 would then ask the server at each change of autocommit.
    return rf"{limits} -c default_transaction_isolation=read\ committed -c timezone=UTC"


def _limits(settings: DatabaseSettings) -> Mapping[str, str]:
    return {
        "statement_timeout": _ms(settings.statement_timeout_s),
        "lock_timeout": _ms(settings.lock_timeout_s),
        "idle_in_transaction_session_timeout": _ms(settings.idle_in_transaction_s),
    }


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
