"""What PostgreSQL and libpq say of certificates, with the settings to look at and what to do.

libpq says of a server's certificate only that it cannot be verified. Python's TLS says why, so it is asked
once more, on a connection of its own.
"""

import socket
import ssl
import struct

from ordermq.config.settings import DatabaseSettings
from ordermq.config.tls import TlsFiles, client_context, database_files, why_refused, why_untrusted

_SSL_REQUEST = struct.pack("!II", 8, 80877103)  # PostgreSQL begins TLS only when it is asked to

# Parts of what libpq and the server say, and what to do.
_SAID = (
    (
        "does not match host name",
        "connect to a name that the certificate has (database.host), or have one made",
    ),
    ("requires a valid client certificate", "name a certificate in {cert}, with its key in {key}"),
    (
        "certificate authentication failed",
        "the name in the certificate of {cert} is not that in database.username; pg_ident.conf may map it",
    ),
    ("has group or world access", "chmod 600 the file of {key}"),
    ("does not support SSL", "turn ssl on at the server (postgresql.conf)"),
)


def check_files(settings: DatabaseSettings) -> None:
    """Raise ConfigError for a file that cannot be used: libpq goes on without one that is missing."""
    if settings.sslmode != "disable" and any(database_files(settings)[1:]):
        client_context(database_files(settings))


def wrap_postgres(host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> ssl.SSLSocket:
    """Open a connection to PostgreSQL and begin TLS. Raises OSError (ssl.SSLError too) and ValueError."""
    plain = socket.create_connection((host, port), timeout=timeout_s)
    try:
        plain.sendall(_SSL_REQUEST)
        if plain.recv(1) != b"S":
            raise ValueError("the server takes no TLS")
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def tls_advice(said: str, settings: DatabaseSettings) -> str:
    """Return what is wrong with a certificate, and what to do; "" if ``said`` is about none.

    Asks the servers once more, each for at most ``connect_timeout_s``, where only they can tell.
    """
    files = database_files(settings)
    if "certificate verify failed" in said:
        return next((why for host in settings.hosts if (why := _why_untrusted(host, files, settings))), "")
    if refused := why_refused(said, files):
        return refused
    return next((files.named(words) for part, words in _SAID if part in said), "")


def _why_untrusted(host: str, files: TlsFiles, settings: DatabaseSettings) -> str:
    context = client_context(files)
    context.check_hostname = settings.sslmode == "verify-full"
    try:
        wrap_postgres(host, settings.port, context, settings.connect_timeout_s).close()
    except ssl.SSLCertVerificationError as exc:
        return why_untrusted(exc, files)
    except (OSError, ValueError):
        return ""
    return ""
