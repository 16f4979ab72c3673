"""One pika connection, driven by a loop of ordermq's own.

pika's private names are used here and nowhere else: ``BlockingConnection._impl`` (the
``SelectConnection`` inside, whose class and methods are public),
``Connection._terminate_stream`` and ``Channel._send_method``; and for messages, which
``wire`` reads and writes, ``Connection._on_data_available`` with its ``_frame_buffer``, and
``Connection._output_marshaled_frames``. ``wire`` also replaces the public function
``pika.data.decode_value`` at import, in the whole process.

pika 2 has no BlockingConnection: there the SelectConnection is opened directly.

Why not ``BlockingConnection.process_data_events`` and ``BlockingChannel``:

* ``process_data_events(t)`` does not return while a byte of output is unsent, and a
  broker with a resource alarm stops reading: every deadline would wait for it.
* ``BlockingChannel.basic_publish`` waits for its confirm without a deadline, one at a time.
* ``BlockingChannel.basic_cancel`` rejects what was delivered and not yet dispatched.
* Its declares, closes and cancels wait for as long as a broker is frozen.

Owned by the thread that opened the connection; nothing here is thread-safe.
"""

import logging
import struct
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Never

import pika
import pika.exceptions
import pika.spec
from pika.adapters.select_connection import IOLoop

from ordermq.amqp.plain import text
from ordermq.amqp.translate import FROM_PIKA, channel_error, connect_error, connection_error
from ordermq.amqp.waker import Waker
from ordermq.amqp.wire import Confirmed, Delivered, Receiver, publish_frames
from ordermq.config.tls import NO_FILES, TlsFiles
from ordermq.errors import BrokerError, ChannelLost, ConnectionLost, ConsumerCancelled, PublishRefused
from ordermq.message.envelope import Publishing

# pika logs whole frames at ERROR, with the bodies of messages. ordermq logs what matters of
# them in its own words. An application that configured this logger keeps its choice.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)

# pika 1.5 warns that pika 2 will remove BlockingConnection; ``_open`` is ready for that.
warnings.filterwarnings(
    "ignore", "BlockingConnection is deprecated", DeprecationWarning, module=r"ordermq\.amqp\._pika"
)


_CANNOT_ENCODE = (
    pika.exceptions.AMQPError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    RecursionError,
    TypeError,
    ValueError,
)

_PIECE = 128 * 1024  # bytes handed to pika at once

Returned = Callable[[str, str, str, str], None]  # message_id, exchange, routing_key, reason


def _open(parameters: pika.ConnectionParameters) -> Any:
    """Open a connection and return pika's SelectConnection; blocks as the parameters say."""
    if hasattr(pika, "BlockingConnection"):
        return pika.BlockingConnection(parameters)._impl
    loop = IOLoop()
    loop.activate_poller()
    ended: list[Any] = []  # the connection, or the error
    try:
        pika.SelectConnection.create_connection([parameters], on_done=ended.append, custom_ioloop=loop)
        while not ended:
            loop.poll()
            loop.process_timeouts()
        if isinstance(ended[0], BaseException):
            raise ended[0]
    except BaseException:
        loop.close()
        raise
    return ended[0]


class BrokerConnection:
    """An open connection to one broker node. Made by the thread that will own it."""

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        *,
        where: str,
        waker: Waker,
        files: TlsFiles = NO_FILES,
    ) -> None:
        """Connect; blocks for at most the parameters' timeout and the time the resolver takes.

        ``where`` names the broker in errors, ``files`` the certificates. Raises the BrokerError that
        ``connect_error`` returns for a failure.
        """
        self.where = where
        self._waker = waker
        self._ended_by: BaseException | None = None
        self._is_interrupted = False
        self._is_released = False
        try:
            self._impl = _open(parameters)
        except FROM_PIKA as exc:
            raise connect_error(exc, where, files) from exc
        self._loop = self._impl.ioloop
        self.receiver = Receiver(self._impl._on_data_available)
        self._impl._on_data_available = self._on_data
        self._impl.add_on_close_callback(self._on_close)
        self._loop.add_handler(waker.fileno(), self._on_wake, self._loop.READ)

    @property
    def is_open(self) -> bool:
        """False once either end closed it; ``pump`` then raises why."""
        return not self._is_released and bool(self._impl.is_open)

    @property
    def broker_version(self) -> str:
        """The broker's version as it says itself; empty if it says none."""
        version = (self._impl.server_properties or {}).get("version", "")
        return version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)

    def on_blocked(self, blocked: Callable[[], None], unblocked: Callable[[], None]) -> None:
        """Call ``blocked`` when a resource alarm of the broker begins, ``unblocked`` when it ends."""

        def call(observer: Callable[[], None]) -> None:
            observer()
            self.interrupt()

        self._impl.add_on_connection_blocked_callback(lambda *_: call(blocked))
        self._impl.add_on_connection_unblocked_callback(lambda *_: call(unblocked))

    def interrupt(self) -> None:
        """Make the ``pump`` under way, or the next one, return early. For callbacks."""
        self._is_interrupted = True

    def pump(self, timeout_s: float, until: Callable[[], bool] | None = None) -> None:
        """Process events until ``until()``, at most ``timeout_s``; without it, until interrupted.

        Handles what is ready even if ``timeout_s`` is 0. Raises ConnectionLost once
        the connection has ended.
        """
        if self._is_released:
            raise connection_error(self._ended_by, self.where)
        is_done = until or self._was_interrupted
        expired: list[bool] = []
        timer = self._loop.call_later(0 if is_done() else timeout_s, lambda: expired.append(True))
        try:
            while True:
                self._loop.poll()
                self._loop.process_timeouts()
                if expired or is_done() or self._ended_by is not None:
                    break
        except FROM_PIKA as exc:
            self._ended_by = self._ended_by or exc
        finally:
            self._loop.remove_timeout(timer)
        if until is None:
            self._is_interrupted = False
        if self._ended_by is not None:
            self.abandon()
            raise connection_error(self._ended_by, self.where)

    def wait(self, timeout_s: float, until: Callable[[], bool], what: str) -> None:
        """``pump`` until ``until()``. If that takes too long, abandon the connection and raise."""
        self.pump(timeout_s, until)
        if not until():
            self.abandon()
            raise ConnectionLost(f"{self.where} did not answer {what} within {timeout_s:.1f} s")

    def open_channel(self, timeout_s: float) -> "Channel":
        """Open a channel; blocks until the broker's reply."""
        opened: list[object] = []
        try:
            channel = Channel(self, self._impl.channel(on_open_callback=opened.append))
        except FROM_PIKA as exc:
            raise connection_error(self._ended_by or exc, self.where) from exc
        self.wait(timeout_s, lambda: bool(opened) or not channel.is_alive, "channel.open")
        channel.check()
        return channel

    def close(self, timeout_s: float) -> None:
        """Send what was written, close cleanly for at most ``timeout_s``, then abandon."""
        if self.is_open:
            try:
                self._impl.close()
                self.pump(timeout_s, until=lambda: False)
            except (*FROM_PIKA, ConnectionLost):
                pass  # it is closed, as asked; which end closed it no longer matters
        self.abandon()

    def abandon(self) -> None:
        """Drop the connection without telling the broker. Never blocks; may be called twice."""
        if self._is_released:
            return
        self._is_released = True
        try:
            if not self._impl.is_closed:
                self._impl._terminate_stream(pika.exceptions.AMQPConnectionError("abandoned"))
            for _ in range(3):  # the transport closes its socket from the loop
                self._loop.call_later(0, lambda: None)
                self._loop.poll()
                self._loop.process_timeouts()
        except FROM_PIKA:
            pass  # it was broken before
        finally:
            self._loop.remove_handler(self._waker.fileno())
            self._loop.close()

    def write(self, frames: bytes) -> None:
        """Write whole frames to the buffer; ``pump`` sends it."""
        # When the socket takes a part of a piece, pika copies the rest, each time anew.
        pieces = [frames[start : start + _PIECE] for start in range(0, len(frames), _PIECE)]
        self._impl._output_marshaled_frames(pieces)

    @property
    def frame_max(self) -> int:
        """Bytes of the largest frame, as agreed with the broker."""
        return int(self._impl.params.frame_max)

    def _on_data(self, data: bytes) -> None:
        if self._impl._frame_buffer:  # pika has the beginning of a frame and must read its end too
            self.receiver.pass_on(data)
            return
        self._impl.bytes_received += len(data)  # by which pika knows that the broker lives
        self.receiver.feed(data)

    def _was_interrupted(self) -> bool:
        return self._is_interrupted

    def _on_wake(self, _fd: int, _events: int) -> None:
        self._waker.clear()
        self._is_interrupted = True

    def _on_close(self, _connection: object, reason: BaseException) -> None:
        self._ended_by = reason


class Channel:
    """A channel of a BrokerConnection. A method that waits says so; the others only write to the buffer."""

    def __init__(self, connection: BrokerConnection, raw: Any) -> None:
        self._connection = connection
        self._raw = raw
        self._lost: BrokerError | None = None
        self._asked = "channel"
        self._has_raised = False
        connection.receiver.forget(raw.channel_number)  # pika uses the number of a closed channel again
        raw.add_on_close_callback(self._on_close)

    @property
    def is_alive(self) -> bool:
        """False once the channel, or its consumer, was ended by anyone."""
        return self._lost is None and self._connection.is_open and not self._raw.is_closed

    @property
    def has_raised(self) -> bool:
        """True once a call has raised why the channel is not alive."""
        return self._has_raised

    def check(self) -> None:
        """Raise why the channel is not alive; nothing if it is."""
        self._has_raised = not self.is_alive
        if self._lost is not None:
            raise self._lost
        if self._raw.is_closed or not self._connection.is_open:
            # pika can lose a channel without calling back.
            raise ChannelLost(f"{self._asked}: the channel is closed")

    def call(self, method: str, timeout_s: float, **arguments: Any) -> Any:
        """Call pika's ``method`` of that name, wait for the broker's reply and return it.

        Raises what the broker answered instead: QueueMissing, TopologyConflict,
        AccessRefused, ChannelLost. The channel is then closed.
        """
        replies: list[Any] = []
        subject = arguments.get("queue") or arguments.get("exchange") or ""
        self._asked = f"{method} {subject}".strip()
        try:
            getattr(self._raw, method)(**arguments, callback=replies.append)
        except FROM_PIKA as exc:
            self._refuse(exc)
        self._connection.wait(timeout_s, lambda: bool(replies) or not self.is_alive, self._asked)
        if not replies:
            self.check()
        return replies[0].method

    def confirm(self, on_confirm: Confirmed, on_return: Returned, timeout_s: float) -> None:
        """Put the channel into confirm mode; waits. From then on tags count from 1.

        The callbacks run inside ``pump`` and must not raise.
        """

        def returned(_channel: object, method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
            reason = f"{method.reply_code} {text(method.reply_text)}"
            on_return(
                text(properties.message_id) or "",
                text(method.exchange) or "",
                text(method.routing_key) or "",
                reason,
            )

        self._raw.add_on_return_callback(returned)
        self._connection.receiver.on_confirm(self._raw.channel_number, on_confirm)
        self.call("confirm_delivery", timeout_s, ack_nack_callback=_never)
        self._asked = "basic_publish"  # errors name it as what closed the channel

    def encode(self, publishing: Publishing) -> bytes:
        """Return the frames of a persistent, mandatory publishing, for ``write``.

        Raises PublishRefused if AMQP cannot carry it.
        """
        try:
            return publish_frames(self._raw.channel_number, publishing, self._connection.frame_max)
        except _CANNOT_ENCODE as exc:
            what = f"message {str(publishing.properties.message_id)[:64]!r}"
            raise PublishRefused(f"{what} cannot be encoded: {repr(exc)[:200]}") from exc

    def write(self, frames: bytes) -> None:
        """Write encoded publishings to the buffer. If the channel is not alive: raise why, write nothing."""
        self.check()
        try:
            self._connection.write(frames)
        except FROM_PIKA as exc:
            self._refuse(exc)

    def consume(
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: Delivered,
        timeout_s: float,
        *,
        epoch: int,
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        """Start a consumer with acks; waits. After a cancel by the broker ``check`` raises ChannelLost.

        ``on_delivery`` runs inside ``pump`` and must not raise.
        """

        def cancelled(_frame: object) -> None:
            self.lose(
                ConsumerCancelled(
                    f"consumer of queue {queue} was cancelled by the broker: the queue was deleted or, from"
                    " RabbitMQ 4.3 on, a delivery was held longer than consumer_timeout"
                )
            )

        self._raw.add_on_cancel_callback(cancelled)
        self._connection.receiver.on_delivery(self._raw.channel_number, on_delivery, epoch)
        self.call(
            "basic_consume",
            timeout_s,
            queue=queue,
            consumer_tag=consumer_tag,
            on_message_callback=_never,
            arguments=dict(arguments or {}),
        )

    def cancel(self, consumer_tag: str, timeout_s: float) -> None:
        """Stop a consumer; waits. What the broker sent before its reply is still delivered.

        pika's own basic_cancel rejects those deliveries, and each reject counts
        toward the delivery limit.
        """
        replies: list[object] = []
        self._asked = f"basic_cancel {consumer_tag}"
        try:
            self._raw.add_callback(replies.append, [pika.spec.Basic.CancelOk])
            self._raw._send_method(pika.spec.Basic.Cancel(consumer_tag=consumer_tag, nowait=False))
        except FROM_PIKA as exc:
            self._refuse(exc)
        self._connection.wait(timeout_s, lambda: bool(replies) or not self.is_alive, self._asked)
        if not replies:
            self.check()

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Write basic.ack to the buffer; the next ``pump`` sends it."""
        try:
            self._raw.basic_ack(tag, multiple)
        except FROM_PIKA as exc:
            self._refuse(exc)

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        """Write basic.nack to the buffer."""
        try:
            self._raw.basic_nack(tag, multiple, requeue)
        except FROM_PIKA as exc:
            self._refuse(exc)

    def reject(self, tag: int, *, requeue: bool = False) -> None:
        """Write basic.reject to the buffer; without requeue the broker dead-letters the message."""
        try:
            self._raw.basic_reject(tag, requeue)
        except FROM_PIKA as exc:
            self._refuse(exc)

    def interrupt(self) -> None:
        """Make the ``pump`` under way return early. For callbacks."""
        self._connection.interrupt()

    def lose(self, error: BrokerError) -> None:
        """Treat the channel as closed for ``error``, which the next ``check`` raises."""
        self._lost = self._lost or error
        self._connection.interrupt()

    def close(self, timeout_s: float) -> None:
        """Close the channel and keep the connection; waits. Does nothing if it is not alive."""
        if not self.is_alive:
            return
        try:
            self._raw.close()
        except FROM_PIKA as exc:
            self._refuse(exc)
        self._connection.wait(timeout_s, lambda: bool(self._raw.is_closed), "channel.close")

    def _refuse(self, exc: BaseException) -> Never:
        self.check()
        raise channel_error(exc, self._asked) from exc

    def _on_close(self, _channel: object, reason: BaseException) -> None:
        if not isinstance(reason, pika.exceptions.ChannelClosedByClient):
            self.lose(channel_error(reason, self._asked))


def _never(*_: object) -> None:
    """Stand for pika's callback; it is never called, because ``wire`` takes those frames before."""
