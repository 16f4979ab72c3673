"""When the certificates of broker and database run out, as a client meets them."""

import socket
import ssl
from datetime import UTC, datetime

from ordermq.config.tls import TlsFiles, client_context
from ordermq.store.tls import wrap_postgres

_TIMEOUT_S = 5.0


def expires_at(host: str, port: int, files: TlsFiles, *, is_postgresql: bool = False) -> datetime:
    """Return when the server's certificate runs out. Raises OSError, ValueError and ConfigError.

    The certificate is verified by the authority, which is the only way to be given its dates.
    """
    context = client_context(files)
    context.check_hostname = False  # the connection itself checks the name
    with _wrapped(host, port, context, is_postgresql=is_postgresql) as encrypted:
        until = (encrypted.getpeercert() or {}).get("notAfter")
    if not isinstance(until, str):
        raise ValueError("the certificate says nothing of its end")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)


def _wrapped(host: str, port: int, context: ssl.SSLContext, *, is_postgresql: bool) -> ssl.SSLSocket:
    if is_postgresql:
        return wrap_postgres(host, port, context, _TIMEOUT_S)
    return context.wrap_socket(
        socket.create_connection((host, port), timeout=_TIMEOUT_S), server_hostname=host
    )
