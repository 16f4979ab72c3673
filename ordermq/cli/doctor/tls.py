"""What ``ordermq doctor`` says of the certificates of servers, and of this end's own files for TLS."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from ordermq.cli.doctor.certificates import TlsFile, tls_files, validity_of_server
from ordermq.cli.doctor.finding import Finding, judged, ok, unknown
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.config import tls
from ordermq.config.address import split_address
from ordermq.config.tls import TlsFiles
from ordermq.config.validity import Validity
from ordermq.errors import ConfigError

TLS = "certificates"
_FEW_DAYS = timedelta(days=3)


class _Server(NamedTuple):
    """A server that is reached over TLS, and how."""

    what: str
    host: str
    port: int
    files: TlsFiles
    is_postgresql: bool = False

    def validity(self) -> Validity:
        return validity_of_server(self.host, self.port, self.files, is_postgresql=self.is_postgresql)


def certificates(program: Program) -> Iterator[tuple[str, datetime]]:
    """Yield each server with an encrypted connection and when its certificate runs out, where it is known."""
    for server in _servers(program):
        with suppress(OSError, ValueError, ConfigError):
            yield server.what, server.validity().ends


def check_certificates(program: Program) -> Iterator[Finding]:
    """Yield when each server's certificate and each of our own files runs out, over TLS.

    A file that cannot be read is unknown here: the connection that needs it fails and says why.
    """
    servers = list(_servers(program))
    for server in servers:
        yield _certificate(server)
    if not servers:
        yield ok(TLS, "in use", "none: neither broker.tls nor a database.sslmode that verifies")
    for file in tls_files(program.settings):
        yield _file(file)


def _servers(program: Program) -> Iterator[_Server]:
    broker, database = program.settings.broker, program.settings.database
    if broker.tls:
        for address in broker.hosts:
            host, port = split_address(address, tls=True)
            yield _Server(f"broker {host}", host, port, tls.broker_files(broker))
    if database.sslmode in tls.VERIFIES:
        for host in database.hosts:
            yield _Server(f"database {host}", host, database.port, tls.database_files(database), True)


def _certificate(server: _Server) -> Finding:
    what = server.what
    try:
        found = server.validity()
    except ssl.SSLCertVerificationError as exc:
        why = tls.why_untrusted(exc, server.files)
        return judged(TLS, what, f"not valid: {why}", "the connection is refused", fails=True)
    except (OSError, ValueError, ConfigError) as exc:
        return unknown(TLS, what, f"its certificate cannot be read: {exc}")
    return _judged(what, found, "have it renewed at the server")


def _file(file: TlsFile) -> Finding:
    try:
        found = file.validity()
    except (OSError, ValueError) as exc:
        return unknown(TLS, file.setting, f"{file.path} cannot be read: {exc}")
    if found is None:
        return unknown(TLS, file.setting, f"{file.path} does not say when it runs out")
    return _judged(file.setting, found, f"{file.todo}: {file.path} is read again at each connection")


def _judged(what: str, found: Validity, todo: str) -> Finding:
    now = utc_now()
    return judged(
        TLS, what, _when(found.ends, found.ends - now), todo,
        fails=found.is_urgent(now), warns=found.is_due(now),
    )  # fmt: skip


def _when(ends: datetime, left: timedelta) -> str:
    if left < timedelta():
        return f"ran out on {ends:%Y-%m-%d %H:%M} UTC"
    if left < _FEW_DAYS:
        return f"runs out in {left // timedelta(hours=1)} hours, on {ends:%Y-%m-%d %H:%M} UTC"
    return f"runs out in {left.days} days, on {ends:%Y-%m-%d}"
