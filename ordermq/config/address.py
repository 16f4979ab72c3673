"""Addresses of hosts as the settings write them. Pure: nothing is resolved."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from ordermq.errors import ConfigError

AMQP_PORT, AMQPS_PORT = 5672, 5671

_ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^\s:/@\[\]]+))(?::([0-9]{1,5}))?", re.ASCII)


def split_address(address: str, *, tls: bool) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    The IPv6 address may name a zone, as in ``[fe80::1%eth0]``. Without a port it is AMQP's
    own. Raises ConfigError if ``address`` is none of these.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or (match[1] and not _is_v6(match[1])):
        raise ConfigError(f"{address!r} is not host or host:port ([v6]:port for IPv6)")
    port = int(match[3]) if match[3] else (AMQPS_PORT if tls else AMQP_PORT)
    if not 1 <= port <= 65_535:
        raise ConfigError(f"{address!r} has a port outside 1..65535")
    return match[1] or match[2], port


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be nothing but this machine: passwords may go there unencrypted.

    True for ``localhost`` in any case, for 127.0.0.0/8, for ::1 in any spelling, and for an
    IPv4 loopback address mapped into IPv6, which the kernel connects to by IPv4. Everything
    else is another machine, because a resolver may answer for it what it likes: other names,
    ``localhost.`` with a dot, which a hosts file does not hold, and what is no address at
    all, as 127.0.0.999 and 127.1. A zone is refused too: ::1 has none.
    """
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return address.is_loopback
    mapped = address.ipv4_mapped
    return address.scope_id is None and (mapped.is_loopback if mapped else address.is_loopback)


def _is_v6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
