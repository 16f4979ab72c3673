"""pika's exceptions become ordermq's.

Texts name the broker and quote it, never a credential. When a connection ends, pika may
also raise errors of its own inner code (AssertionError, IndexError, OSError, struct.error).
To a caller they mean the same as a reset, and so they become one.
"""

import errno
import re
import socket
import ssl
import struct

import pika.exceptions
from pika.adapters.utils import connection_workflow

from ordermq.config.tls import NO_FILES, TlsFiles, why_refused, why_untrusted
from ordermq.errors import (
    AccessRefused,
    AuthenticationRefused,
    BrokerError,
    ChannelLost,
    ConnectionBlocked,
    ConnectionLost,
    ConnectionReset,
    ConnectTimeout,
    ConsumerTimeout,
    ExchangeMissing,
    QueueMissing,
    TlsRefused,
    TooManyConnections,
    TopologyConflict,
    Unreachable,
    VhostMissing,
)

FROM_PIKA = (
    pika.exceptions.AMQPError,
    connection_workflow.AMQPConnectorException,
    OSError,
    AssertionError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    struct.error,
)

_TIMED_OUT = (TimeoutError, connection_workflow.AMQPConnectorStackTimeout)
_UNREACHABLE_ERRNOS = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
)
_CLOSED_BY_BROKER = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (['\"])(.*?)\2", re.DOTALL)
_LONGEST_TEXT = 500
# OpenSSL's reasons for an answer without TLS: RabbitMQ answers in AMQP, others in HTTP.
_NO_TLS_THERE = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def connect_error(exc: BaseException, where: str, files: TlsFiles = NO_FILES) -> BrokerError:
    """Return the error for a failed attempt to open a connection to ``where``, by TLS with ``files``."""
    root = _root(exc)
    code, text = _close_reason(root)
    alert = why_refused(f"{root!r} {exc!r}", files)
    error: BrokerError
    if code is not None:
        error = _refusal(code, text, where, files)
    elif isinstance(root, _TIMED_OUT):
        error = ConnectTimeout(f"{where} did not answer in time")
    elif isinstance(root, socket.gaierror):
        error = Unreachable(f"{where} does not resolve: {root.strerror}")
    elif isinstance(root, ssl.SSLCertVerificationError):
        error = TlsRefused(f"the certificate of {where} is not trusted: {why_untrusted(root, files)}")
    elif alert:
        error = TlsRefused(f"{where} ended TLS: {alert}")
    elif isinstance(root, ssl.SSLError) and any(reason in str(root) for reason in _NO_TLS_THERE):
        error = TlsRefused(f"{where} does not speak TLS")
    elif isinstance(root, ssl.SSLError):
        error = ConnectionReset(f"TLS with {where} failed: {_safe(root)}")
    elif isinstance(root, OSError) and root.errno in (errno.EMFILE, errno.ENFILE):
        error = Unreachable(f"{where} was not tried: {root.strerror} (raise LimitNOFILE or ulimit -n)")
    elif isinstance(root, OSError) and root.errno in _UNREACHABLE_ERRNOS:
        error = Unreachable(f"{where} cannot be reached: {root.strerror}")
    elif isinstance(root, pika.exceptions.AuthenticationError):
        error = AuthenticationRefused(
            f"{where} offers no login mechanism that suits the credentials: a certificate without a password"
            " needs EXTERNAL (plugin rabbitmq_auth_mechanism_ssl, auth_mechanisms in rabbitmq.conf)"
        )
    elif isinstance(root, pika.exceptions.IncompatibleProtocolError):
        error = ConnectionReset(
            f"{where} closed the connection before the first frame: it does not speak AMQP 0-9-1,"
            f" TLS is on at one end only, or it refused {files.named('the client certificate in {cert}')}"
        )
    else:
        error = ConnectionReset(f"{where} closed the connection during login: {_safe(root)}")
    error.__cause__ = exc
    return error


def connection_error(exc: BaseException | None, where: str) -> ConnectionLost:
    """Return the error for an open connection to ``where`` that ended by ``exc``."""
    error: ConnectionLost
    if isinstance(exc, pika.exceptions.ConnectionBlockedTimeout):
        error = ConnectionBlocked(f"{where} kept this connection blocked (resource alarm) past the timeout")
    elif isinstance(exc, pika.exceptions.AMQPHeartbeatTimeout):
        error = ConnectionReset(f"{where} stopped sending heartbeats")
    elif isinstance(exc, pika.exceptions.ConnectionClosedByBroker):
        error = ConnectionReset(f"{where} closed the connection: {exc.reply_code} {_safe(exc.reply_text)}")
    else:
        error = ConnectionReset(f"the connection to {where} broke: {_safe(_root(exc) if exc else 'closed')}")
    error.__cause__ = exc
    return error


def channel_error(exc: BaseException | None, what: str) -> BrokerError:
    """Return the error for a channel that ``exc`` closed during ``what``."""
    error: BrokerError
    if isinstance(exc, pika.exceptions.ChannelClosedByBroker):
        said = _safe(exc.reply_text)
        error = _channel_error_type(exc.reply_code, said)(f"{what}: {exc.reply_code} {said}")
    else:
        error = ChannelLost(f"{what}: the channel is closed ({_safe(exc) if exc else 'no reason given'})")
    error.__cause__ = exc
    return error


def _channel_error_type(code: int, said: str) -> type[BrokerError]:
    if code == 403:
        return AccessRefused
    if code == 404:
        if "no queue" in said:
            return QueueMissing
        return ExchangeMissing if "no exchange" in said else TopologyConflict
    if code == 406 and "delivery acknowledgement" in said and "timed out" in said:
        return ConsumerTimeout
    if code == 406 and " arg " in said:  # "inequivalent arg", "invalid arg"
        return TopologyConflict
    return ChannelLost  # also 406: an unknown delivery tag


def _refusal(code: int, text: str, where: str, files: TlsFiles) -> BrokerError:
    if code == 403 and "EXTERNAL" in text:
        hint = files.named(
            "the user is the name in the certificate of {cert}: does the broker have it,"
            " and ssl_options.verify = verify_peer in rabbitmq.conf?"
        )
        return AuthenticationRefused(f"{where} refused the login: {text.rstrip('.')}: {hint}")
    if code == 403:
        return AuthenticationRefused(f"{where} refused the login: {text}")
    if code == 530 and "limit" in text:
        return TooManyConnections(f"{where} takes no more connections: {text}")
    if code == 530:
        return VhostMissing(f"{where} refused the virtual host: {text}")
    # A starting node closes with 320 or 541.
    return ConnectionReset(f"{where} closed the connection during login: {code} {text}")


def _close_reason(exc: BaseException) -> tuple[int | None, str]:
    """Return the broker's reply code and text, also from inside a guess of pika's.

    pika calls every end during login a probable authentication error. A broker that
    refuses a login replies 403. One that only went away must not look like a refusal,
    which ends a process at its start.
    """
    if isinstance(exc, pika.exceptions.ConnectionClosedByBroker):
        return exc.reply_code, _safe(exc.reply_text)
    if isinstance(
        exc, pika.exceptions.ProbableAuthenticationError | pika.exceptions.ProbableAccessDeniedError
    ):
        match = _CLOSED_BY_BROKER.search(str(exc.args[0]) if exc.args else "")
        if match:
            return int(match[1]), _safe(match[3])
    return None, ""


def _root(exc: BaseException) -> BaseException:
    """Return the error inside the wrappers of pika's connection workflow."""
    while True:
        if isinstance(exc, connection_workflow.AMQPConnectorPhaseErrorBase):
            inner: object = exc.exception
        elif isinstance(exc, connection_workflow.AMQPConnectionWorkflowFailed):
            inner = exc.exceptions[-1]
        elif type(exc) in (pika.exceptions.AMQPConnectionError, pika.exceptions.StreamLostError):
            inner = next((arg for arg in exc.args if isinstance(arg, BaseException)), None)
        else:
            return exc
        if not isinstance(inner, BaseException):
            return exc
        exc = inner


def _safe(said: object) -> str:
    """Return a foreign text as one printable line of bounded length."""
    text = str(said) or repr(said)
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST_TEXT]).strip()
