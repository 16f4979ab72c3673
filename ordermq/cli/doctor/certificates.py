"""When certificates and revocation lists run out: a server's as a client meets it, ours in their files."""

import math
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ordermq.config.settings import Settings
from ordermq.config.tls import TlsFiles, broker_files, client_context, database_files
from ordermq.config.validity import Validity, certificates_in, revocations_in
from ordermq.observe import metrics
from ordermq.store.tls import wrap_postgres

_TIMEOUT_S = 5.0
_RENEW = "have it renewed at the authority"
_ADVICE = {"cert_file": _RENEW, "crl_file": "fetch the next list from the authority", "ca_file": _RENEW}


class TlsFile(NamedTuple):
    """A file that a setting names, and what to do before it runs out."""

    setting: str
    path: str
    todo: str

    def validity(self) -> Validity | None:
        """Return the times of what in the file ends it first. Raises OSError and ValueError.

        That is of a client's certificate with its chain the one that ends first, and of revocation lists too.
        Of several authorities it is the one that ends last: an old one is left there while it is replaced.
        """
        data = Path(self.path).read_bytes()
        is_crl, is_ca = self.setting.endswith("crl_file"), self.setting.endswith("ca_file")
        found = revocations_in(data) if is_crl else certificates_in(data)
        first_or_last = max if is_ca else min
        return first_or_last(found, key=lambda each: each.ends, default=None)


def tls_files(settings: Settings) -> Iterator[TlsFile]:
    """Yield the files of connections that are encrypted."""
    broker, database = settings.broker, settings.database
    if broker.tls:
        yield from _files_of(broker_files(broker))
    if database.sslmode != "disable":
        yield from _files_of(database_files(database))


def _files_of(files: TlsFiles) -> Iterator[TlsFile]:
    for name, todo in _ADVICE.items():
        if path := getattr(files, name):
            yield TlsFile(f"{files.section}.{name}", path, todo)


def show_tls_files(settings: Settings) -> None:
    """Have the metrics say when each file was issued and runs out; it is read each time they are asked."""
    for file in tls_files(settings):
        metrics.tls_file_issued.labels(file.setting).set_function(partial(_seconds, file, "begins"))
        metrics.tls_file_expires.labels(file.setting).set_function(partial(_seconds, file, "ends"))


def _seconds(file: TlsFile, name: str) -> float:
    try:
        found = file.validity()
    except (OSError, ValueError):
        return math.nan
    if found is None:
        return math.nan
    return (found.begins if name == "begins" else found.ends).timestamp()


def validity_of_server(host: str, port: int, files: TlsFiles, *, is_postgresql: bool = False) -> Validity:
    """Return the times of the server's certificate. Raises OSError, ValueError and ConfigError.

    The certificate is verified by the authority, which is the only way to be given its dates.
    """
    context = client_context(files)
    context.check_hostname = False  # the connection itself checks the name
    with _wrapped(host, port, context, is_postgresql=is_postgresql) as encrypted:
        said = encrypted.getpeercert() or {}
    return Validity(_time(said.get("notBefore")), _time(said.get("notAfter")))


def _time(said: object) -> datetime:
    if not isinstance(said, str):
        raise ValueError("the certificate does not say when it begins and ends")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(said), UTC)


def _wrapped(host: str, port: int, context: ssl.SSLContext, *, is_postgresql: bool) -> ssl.SSLSocket:
    if is_postgresql:
        return wrap_postgres(host, port, context, _TIMEOUT_S)
    return context.wrap_socket(
        socket.create_connection((host, port), timeout=_TIMEOUT_S), server_hostname=host
    )
