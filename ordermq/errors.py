"""The errors that ordermq raises to its callers, in one tree.

Exceptions of pika and psycopg2 never leave ``ordermq.amqp`` and ``ordermq.store``:
they are re-raised as one of these, with the original as ``__cause__``.
``retryable`` says whether the same call can succeed later without a person's help;
``exit_code`` is what a command returns for it (sysexits.h where one fits).
"""


class OrderMQError(Exception):
    """Root of all errors of ordermq.

    ``retryable`` says whether the same call can succeed later without a person; ``exit_code`` is
    what a command returns for it.
    """

    retryable = False
    exit_code = 70


class UsageError(OrderMQError):
    """A command or a function was called in a way that has no meaning."""

    exit_code = 64


class BadInput(OrderMQError):
    """Input data was refused; the text names the row and the reason."""

    exit_code = 65


class NotProven(OrderMQError):
    """A signature, a proof or the audit log does not hold; the text names what, where, and how it shows."""

    exit_code = 1


class LogUnreachable(OrderMQError):
    """A web server with an audit log, or a witness, did not answer."""

    retryable = True
    exit_code = 75


class ConfigError(OrderMQError):
    """A setting, a module or a handler is declared wrongly; the message names it and its source."""

    exit_code = 78


# --- RabbitMQ -----------------------------------------------------------------


class BrokerError(OrderMQError):
    """RabbitMQ could not do what was asked."""

    exit_code = 69


class ConnectionLost(BrokerError):
    """The connection closed, or could not be opened within its deadline."""

    retryable = True
    exit_code = 75


class ConnectTimeout(ConnectionLost):
    """No broker answered in time: a frozen host, a dropped packet, an overloaded node."""


class Unreachable(ConnectionLost):
    """The name does not resolve, there is no route, or no process listens at the port."""


class ConnectionReset(ConnectionLost):
    """The peer closed the connection, or stopped sending heartbeats."""


class ConnectionBlocked(ConnectionLost):
    """The broker raised a resource alarm and stayed blocked past the timeout."""


class TooManyConnections(ConnectionLost):
    """The broker's limit of connections, to the virtual host or of the user, is reached."""


class AccessRefused(BrokerError):
    """The broker knows the user but does not permit this (403)."""

    exit_code = 78


class AuthenticationRefused(AccessRefused):
    """Wrong user, password or certificate."""


class VhostMissing(AccessRefused):
    """The virtual host does not exist, or the user may not enter it (530)."""


class TlsRefused(AccessRefused):
    """TLS is on at one end only, or a certificate is not trusted."""


class ChannelLost(BrokerError):
    """The broker closed a channel; the connection may live on."""

    retryable = True
    exit_code = 75


class ConsumerTimeout(ChannelLost):
    """The broker waited for an ack longer than its consumer_timeout and took the deliveries back."""


class ConsumerCancelled(ChannelLost):
    """The broker cancelled a consumer: its queue is gone or, from RabbitMQ 4.3 on, an ack came too late."""


class PublishError(BrokerError):
    """A publishing did not reach a queue, or is not known to have reached it."""

    retryable = True
    exit_code = 75


class PublishNacked(PublishError):
    """The broker refused a publishing with basic.nack: the queue is full or has no leader."""


class PublishReturned(PublishError):
    """The broker sent a publishing back with basic.return: no queue is bound for it."""

    retryable = False
    exit_code = 69


class PublishUnknown(PublishError):
    """No confirm came within the deadline: the broker may or may not have it."""


class PublishRefused(PublishError):
    """A publishing cannot be encoded: it is too large, or has a header AMQP cannot carry. It was not sent."""

    retryable = False
    exit_code = 65


class TopologyConflict(BrokerError):
    """A queue or an exchange on the broker is missing or differs from the declared one (404, 406)."""

    exit_code = 1


class ExchangeMissing(TopologyConflict):
    """The exchange to publish to does not exist; ``ordermq topology apply`` creates it."""

    exit_code = 78


class QueueMissing(BrokerError):
    """A queue to consume from does not exist; ``ordermq topology apply`` creates it."""

    exit_code = 78


# --- Kafka ----------------------------------------------------------------------


class KafkaError(OrderMQError):
    """Kafka could not do what was asked."""

    exit_code = 69


class KafkaUnavailable(KafkaError):
    """No broker of Kafka answered, or one did not acknowledge in time."""

    retryable = True
    exit_code = 75


class KafkaRefused(KafkaError):
    """A login, a certificate, a permission, or a topic that does not exist: a person has to mend it."""

    exit_code = 78


class AlreadyForwarded(OrderMQError):
    """Another process forwards events to the same target, and this one was not to stand by."""

    retryable = True
    exit_code = 75


# --- PostgreSQL ---------------------------------------------------------------


class StoreError(OrderMQError):
    """PostgreSQL could not do what was asked.

    ``sqlstate`` is the code that the server answered with, five characters; empty if none came,
    as when the connection broke or the server ended the session.
    """

    exit_code = 69

    def __init__(self, message: str = "", sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class StoreUnavailable(StoreError):
    """No connection, a deadline passed, or the server has trouble of its own, such as a damaged file."""

    retryable = True
    exit_code = 75


class DiskFull(StoreUnavailable):
    """The server has no space left on its disk."""


class ReadOnlyServer(StoreUnavailable):
    """The server takes no writes: it is a standby, or default_transaction_read_only is on."""


class SessionLost(StoreUnavailable):
    """The server ended the session, or the connection broke, while a transaction was under way."""


class CommitUnknown(SessionLost):
    """The connection broke while COMMIT was under way: it may or may not have happened."""


class StoreRefused(StoreError):
    """Authentication, a missing database, or a missing permission."""

    exit_code = 78


class Contention(StoreError):
    """A deadlock, a serialization failure, or a limit of time that passed: the same may succeed at once.

    The limits are those of a lock, a statement, a transaction, and of idling in one.
    """

    retryable = True
    exit_code = 75


class DataRefused(StoreError):
    """A constraint or a data type refused the values; the same values never succeed."""

    exit_code = 65


class SchemaOutdated(StoreError):
    """Migrations are missing, or the database is newer than this code."""

    exit_code = 78


# --- Messages -----------------------------------------------------------------


class MessageError(OrderMQError):
    """A message that no later attempt can make readable."""

    exit_code = 65


class MalformedMessage(MessageError):
    """The message is not strict JSON, exceeds a limit, or has not the shape of its type."""


class UnknownMessageType(MessageError):
    """The queue has no handler for this type, or the type is missing and the queue takes several."""


class UnsupportedVersion(MessageError):
    """The message has a version this code does not know."""


class SignatureRefused(MessageError):
    """The message has no signature, or one that is not accepted."""


class RecordUnreadable(MessageError):
    """A record of the history is no event that others could read; its module cannot make one of it."""


class EventsMissed(OrderMQError):
    """Events between what a reader has seen and what the stream holds now are not in it any more."""

    exit_code = 1


class UnknownQueue(OrderMQError):
    """A message was to be sent to a queue that has no handler and is in no setting."""

    exit_code = 78


class DeadLetterNotFound(OrderMQError):
    """No dead letter has this number."""

    exit_code = 1


class CanaryDied(OrderMQError):
    """A message that was replayed to see what happens died again."""

    exit_code = 1


class CanaryWaits(OrderMQError):
    """It is not known in time what became of a message that was replayed to see what happens."""

    retryable = True
    exit_code = 75


# --- Processes ----------------------------------------------------------------


class DrainTimeout(OrderMQError):
    """Handlers still ran when the drain deadline passed; their messages return to the queue."""

    exit_code = 75


class HandlerMisbehaved(OrderMQError):
    """A handler returned something other than one outcome for each message.

    A consumer retries the messages; ``run_handler`` raises it.
    """


class HandlerOverdue(OrderMQError):
    """A handler ran past its deadline; the process ends, because no thread can be ended from outside."""

    exit_code = 75


# --- Orders -------------------------------------------------------------------


class OrderConflict(OrderMQError):
    """An order of this id exists with other content, or its state does not allow the request."""

    exit_code = 65


class OrderArchived(OrderConflict):
    """The events of an order are in a file, so nothing can happen to it; the text names the file."""


class VersionConflict(OrderConflict):
    """An order changed since somebody looked at it: ``found`` is its version, and not ``expected``."""

    def __init__(self, order_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"order {order_id}: version {expected} was expected and {found} was found, so it has changed;"
            f" nothing was done. Look again: ordermq order show {order_id}"
        )
        self.order_id = order_id
        self.expected = expected
        self.found = found


class OrderNotFound(OrderMQError):
    """No order has this id."""

    exit_code = 1


class GatewayError(OrderMQError):
    """A payment or message service did not do what was asked."""

    exit_code = 69


class GatewayUnavailable(GatewayError):
    """The request had no effect: nothing was sent, or the service said to come back.

    ``retry_after_s`` is the wait that the service asked for, in seconds; None if it asked for none.
    """

    retryable = True
    exit_code = 75

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(GatewayError):
    """No usable answer came: the request may or may not have had its effect."""

    retryable = True
    exit_code = 75


class NotCalled(GatewayUnavailable):
    """The framework did not make the call: too late for its lease, or the service fails."""


class GatewayRefused(GatewayError):
    """The service says the request is wrong; the same request never succeeds."""


class EventUnreadable(OrderMQError):
    """A stored event has a type or a version that this code does not know; the text names both."""

    exit_code = 78


class IllegalEvent(OrderMQError):
    """An event that cannot happen to an order in its state; the saga's table has no such row."""
