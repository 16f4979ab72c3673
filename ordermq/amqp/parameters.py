"""How one broker address becomes pika's connection parameters.

Built anew for every attempt: the password is read again, so one rotated in its file
is used at the next connection, and pika erases its copy once connected.
"""

import pika
import pika.credentials

from ordermq.config.address import is_loopback, split_address
from ordermq.config.settings import BrokerSettings
from ordermq.config.tls import broker_files, client_context
from ordermq.errors import ConfigError


def parameters(settings: BrokerSettings, address: str, *, name: str) -> pika.ConnectionParameters:
    """Return parameters for one attempt at ``address`` (``host`` or ``host:port``).

    ``name`` is what the management pages show for the connection. Raises ConfigError
    for an address, certificate or secret that cannot be used, and for a password
    that would cross the network unencrypted.
    """
    host, port = split_address(address, tls=settings.tls)
    if not (settings.tls or settings.allow_plaintext or is_loopback(host)):
        raise ConfigError(
            f"broker.tls is off and {host} is another machine: the password would cross the network"
            " unencrypted; turn broker.tls on, or set broker.allow_plaintext to accept that"
        )
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=settings.vhost,
        credentials=_credentials(settings),
        ssl_options=pika.SSLOptions(client_context(broker_files(settings)), host) if settings.tls else None,
        heartbeat=settings.heartbeat_s,
        connection_attempts=1,
        socket_timeout=settings.connect_timeout_s,
        stack_timeout=settings.connect_timeout_s,
        blocked_connection_timeout=settings.blocked_timeout_s,
        client_properties={"connection_name": name},
        tcp_options={
            # Keepalive notices a dead connection that is idle, the user timeout one that has
            # data under way. Only heartbeats notice a frozen broker: its kernel still
            # acknowledges what it is sent.
            "TCP_USER_TIMEOUT": round(settings.tcp_user_timeout_s * 1000),
            "TCP_KEEPIDLE": settings.keepalive_idle_s,
            "TCP_KEEPINTVL": settings.keepalive_interval_s,
            "TCP_KEEPCNT": settings.keepalive_count,
        },
    )


def _credentials(settings: BrokerSettings) -> pika.credentials.PlainCredentials:
    password = settings.password.reveal()
    if settings.tls and settings.cert_file and not password:
        return pika.credentials.ExternalCredentials()  # the user is the name in the certificate
    return pika.PlainCredentials(settings.username, password, erase_on_connect=True)
