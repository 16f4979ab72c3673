"""pika's exceptions in ordermq's words."""

import socket
import ssl

import pytest
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from ordermq.amqp.translate import channel_error, connect_error, connection_error
from ordermq.errors import (
    AccessRefused,
    AuthenticationRefused,
    ChannelLost,
    ConnectionBlocked,
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


def untrusted():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def in_login(code, text):
    """As pika tells of a broker that closed the connection during login."""
    return exceptions.ProbableAuthenticationError(repr(exceptions.ConnectionClosedByBroker(code, text)))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionRefusedError(111, "Connection refused"), Unreachable),
        (socket.gaierror(-2, "Name or service not known"), Unreachable),
        (TimeoutError("timed out"), ConnectTimeout),
        (workflow.AMQPConnectorStackTimeout("slow"), ConnectTimeout),
        (
            exceptions.AMQPConnectionError(workflow.AMQPConnectorSocketConnectError(TimeoutError("tcp"))),
            ConnectTimeout,
        ),
        (workflow.AMQPConnectionWorkflowFailed([OSError(113, "No route to host")]), Unreachable),
        (workflow.AMQPConnectorTransportSetupError(untrusted()), TlsRefused),
        (workflow.AMQPConnectorTransportSetupError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), TlsRefused),
        (workflow.AMQPConnectorTransportSetupError(ssl.SSLError(1, "BAD_RECORD_MAC")), ConnectionReset),
        (exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED"), AuthenticationRefused),
        (in_login(403, "ACCESS_REFUSED - Login was refused"), AuthenticationRefused),
        (in_login(530, "NOT_ALLOWED - vhost x not found"), VhostMissing),
        (
            exceptions.ProbableAccessDeniedError(repr(exceptions.ConnectionClosedByBroker(530, "vhost x"))),
            VhostMissing,
        ),
        (in_login(530, "NOT_ALLOWED - connection limit (1) is reached"), TooManyConnections),
        (in_login(320, "CONNECTION_FORCED - broker forced connection closure"), ConnectionReset),
        (in_login(541, "INTERNAL_ERROR - vhost is down"), ConnectionReset),
        (
            exceptions.ProbableAuthenticationError(repr(exceptions.StreamLostError("reset by peer"))),
            ConnectionReset,
        ),
        (
            exceptions.ProbableAccessDeniedError(repr(exceptions.StreamLostError("reset by peer"))),
            ConnectionReset,
        ),
        (exceptions.IncompatibleProtocolError("StreamLostError: SSLEOFError"), ConnectionReset),
        (exceptions.AuthenticationError("PLAIN"), AuthenticationRefused),
        (AssertionError("inside pika"), ConnectionReset),
        (IndexError("pop from an empty deque"), ConnectionReset),
    ],
)
def test_a_failed_attempt_is_what_it_means(raised, expected):
    error = connect_error(raised, "rabbit:5672")

    assert type(error) is expected
    assert error.__cause__ is raised
    assert "rabbit:5672" in str(error)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (exceptions.ConnectionBlockedTimeout("blocked"), ConnectionBlocked),
        (exceptions.AMQPHeartbeatTimeout("no heartbeat"), ConnectionReset),
        (exceptions.StreamLostError("Stream connection lost"), ConnectionReset),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), ConnectionReset),
        (AssertionError("inside pika"), ConnectionReset),
        (None, ConnectionReset),
    ],
)
def test_the_end_of_an_open_connection_is_what_it_means(raised, expected):
    assert type(connection_error(raised, "rabbit:5672")) is expected


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - write access"), AccessRefused),
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q' in vhost '/'"), QueueMissing),
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no exchange 'x' in vhost '/'"), ExchangeMissing),
        (
            exceptions.ChannelClosedByBroker(406, "PRECONDITION_FAILED - inequivalent arg 'x'"),
            TopologyConflict,
        ),
        (exceptions.ChannelClosedByBroker(406, "PRECONDITION_FAILED - unknown delivery tag 9"), ChannelLost),
        (
            exceptions.ChannelClosedByBroker(
                406,
                "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."
                " Timeout value used: 5000 ms.",
            ),
            ConsumerTimeout,
        ),
        (exceptions.ChannelWrongStateError("Channel is closed."), ChannelLost),
        (None, ChannelLost),
    ],
)
def test_a_closed_channel_is_what_it_means(raised, expected):
    error = channel_error(raised, "queue_declare q")

    assert type(error) is expected
    assert str(error).startswith("queue_declare q: ")


def test_what_the_broker_says_becomes_one_bounded_printable_line():
    said = "evil\n\x1b[31m\u202e" + "x" * 5000

    text = str(channel_error(exceptions.ChannelClosedByBroker(406, said), "basic_consume q"))

    assert text.isprintable()
    assert len(text) < 600
