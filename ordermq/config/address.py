"""Addresses as the settings write them. Pure: nothing is resolved."""

import re

from ordermq.errors import ConfigError

AMQP_PORT, AMQPS_PORT = 5672, 5671

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+))(?::([0-9]{1,5}))?", re.ASCII)


def split_address(address: str, *, tls: bool) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    Without a port it is AMQP's own. Raises ConfigError if ``address`` is none of these.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address!r} is not host or host:port ([v6]:port for IPv6)")
    port = int(match[3]) if match[3] else (AMQPS_PORT if tls else AMQP_PORT)
    if not 1 <= port <= 65_535:
        raise ConfigError(f"{address!r} has a port outside 1..65535")
    return match[1] or match[2], port


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its very name. Other names are not resolved: DNS may lie."""
    return _LOOPBACK.fullmatch(host) is not None
