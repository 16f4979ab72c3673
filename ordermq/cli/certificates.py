"""When the certificates of broker and database run out, as a client meets them."""

import socket
import ssl
import struct
from datetime import UTC, datetime

_TIMEOUT_S = 5.0
_SSL_REQUEST = struct.pack("!II", 8, 80877103)  # PostgreSQL begins TLS only when it is asked to


def expires_at(host: str, port: int, *, ca_file: str, cert_file: str = "", key_file: str = "",
               is_postgresql: bool = False) -> datetime:  # fmt: skip
    """Return when the server's certificate runs out. Raises OSError (ssl.SSLError too) and ValueError.

    The certificate is verified by the authority, which is the only way to be given its dates.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.check_hostname = False  # the connection itself checks the name
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain:
        if is_postgresql:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise ValueError("the server takes no TLS")
        with context.wrap_socket(plain, server_hostname=host) as encrypted:
            until = (encrypted.getpeercert() or {}).get("notAfter")
    if not isinstance(until, str):
        raise ValueError("the certificate says nothing of its end")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
