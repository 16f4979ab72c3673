"""A connection to RabbitMQ that comes back: states, backoff, hosts, and why it went away.

Invariants
    CON1  One thread, the owner, calls all methods. Any thread may call ``wake()`` and read
        the properties.
    CON2  ``_enter`` is the only place that changes the state.
    CON3  A channel is never handed out again after a reconnect: the owner opens new
        ones, and tags of old ones mean nothing.
"""

import logging
import threading
from collections.abc import Callable
from random import Random

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set

from ordermq.amqp._pika import BrokerConnection, Channel
from ordermq.amqp.parameters import parameters
from ordermq.amqp.reconnect_delay import ReconnectDelay
from ordermq.amqp.state import ConnectionState, move
from ordermq.amqp.waker import Waker
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import BrokerSettings
from ordermq.config.tls import broker_files
from ordermq.errors import AccessRefused, BrokerError, ConfigError, ConnectionLost, OrderMQError
from ordermq.log_events import (
    CONNECTION_FAILED,
    CONNECTION_LOST,
    CONNECTION_OPENED,
    CONNECTION_REFUSED,
    OBSERVER_FAILED,
)

log = logging.getLogger(__name__)

StateObserver = Callable[[ConnectionState], None]

_REPEAT_LOG_S = 30.0  # the same failure is logged as a warning at most this often


class ConnectionManager:
    """One broker connection at a time, to the first host that answers.

    ``on_state`` is called with every state entered, in the owner's thread. An error it
    raises is logged and changes nothing.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        name: str,
        on_state: StateObserver | None = None,
        random: Random | None = None,
    ) -> None:
        """``name`` is the connection's name on the broker. Connects nothing yet."""
        self.settings = settings
        self.name = name
        self._on_state = on_state
        self._random = random or Random()
        self._reconnect_delay = ReconnectDelay(settings, self._random)
        self._waker = Waker()
        self._connection: BrokerConnection | None = None
        self._channels: list[Channel] = []
        self._next_host = self._random.randrange(max(1, len(settings.hosts)))
        self._failures = 0  # since the connection was last healthy; the backoff counts them
        self._was_open = False
        self._opened_s = 0.0
        self._down_since_s: float | None = None
        self._state = ConnectionState.NEW
        self._entered_s = monotonic_s()
        self._reconnects = 0
        self._last_error: OrderMQError | None = None
        self._logged: tuple[str, float] = ("", 0.0)  # the failure that was logged last, and when

    # --- any thread ---------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Present state."""
        return self._state

    @property
    def state_age_s(self) -> float:
        """Seconds since the present state was entered."""
        return monotonic_s() - self._entered_s

    @property
    def reconnects(self) -> int:
        """Times the connection came back after it was lost."""
        return self._reconnects

    @property
    def broker_version(self) -> str:
        """The version of the broker that is connected; empty if none is."""
        return self._connection.broker_version if self._connection is not None else ""

    @property
    def last_error(self) -> OrderMQError | None:
        """Why the last attempt failed or the last connection was lost; kept after recovery."""
        return self._last_error

    def wake(self) -> None:
        """Make ``tick`` return now, or the next one at once. Never blocks; safe in a signal handler."""
        self._waker.wake()

    # --- the owner's thread -------------------------------------------------

    def connect(self, stop: threading.Event, *, on_wait: Callable[[], None] = lambda: None) -> bool:
        """Block until open; False if ``stop`` was set first. Does nothing if it is open.

        ``on_wait`` is called about once a second while it waits, and before each host is
        tried: a sign of life for a watchdog.
        One attempt tries every host once. After a lost connection the first attempt
        waits too, so that a restarted broker does not meet all its clients at once. Raises
        AccessRefused or ConfigError at once if this connection was never open. If it was,
        they may mean that a password is being rotated, and are waited out. Raises
        ConnectionLost after ``give_up_after_s`` without a connection.
        """
        if self._connection is not None:
            try:
                self._connection.pump(0)
                return True
            except ConnectionLost as exc:  # it ended outside tick, in a call that waited
                self._lost(exc)
        if self._down_since_s is None:
            self._down_since_s = monotonic_s()
        if self._was_open:
            self._enter(ConnectionState.WAITING)
            _wait(self._reconnect_delay.delay_s(self._last_error, self._failures), stop, on_wait)
            if stop.is_set():
                return False
        retrying = Retrying(
            sleep=lambda seconds: _wait(seconds, stop, on_wait),
            stop=stop_when_event_set(stop),
            wait=self._delay_s,
            retry=retry_if_exception(self._is_worth_waiting),
            before_sleep=lambda _: self._enter(ConnectionState.WAITING),
            reraise=True,
        )
        try:
            retrying(self._attempt, stop, on_wait)
        except OrderMQError as exc:
            if stop.is_set():
                return False
            if exc.retryable or self._was_open:
                raise ConnectionLost(
                    f"gave up after {self._down_s:.0f} s without a connection"
                    f" (broker.give_up_after_s is {self.settings.give_up_after_s:g}); last: {exc}"
                ) from exc
            raise
        return True

    def tick(self, timeout_s: float) -> None:
        """Process events for at most ``timeout_s``; return early on a wake or a delivery.

        It also answers heartbeats: call it at least every few seconds. Raises ConnectionLost
        (ConnectionReset, ConnectionBlocked) when the connection has ended. When a channel of
        ``open_channel`` has ended and no call on it has raised that yet, raises ChannelLost or
        the broker's reason for closing it; the connection then lives on.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionLost("not connected")
        try:
            connection.pump(timeout_s)
        except ConnectionLost as exc:
            self._lost(exc)
            raise
        for channel in self._channels:
            if not channel.is_alive:
                self._channels.remove(channel)
                if not channel.has_raised:
                    channel.check()
                break  # the list has changed; the next tick checks the rest

    def interrupt(self) -> None:
        """Make the ``tick`` under way, or the next one, return early. For callbacks inside it."""
        if self._connection is not None:
            self._connection.interrupt()

    def open_channel(self, timeout_s: float | None = None) -> Channel:
        """Open a channel that ``tick`` watches. Blocks until the broker's reply."""
        if self._connection is None:
            raise ConnectionLost("not connected")
        try:
            channel = self._connection.open_channel(
                self.settings.connect_timeout_s if timeout_s is None else timeout_s
            )
        except ConnectionLost as exc:
            self._lost(exc)
            raise
        self._channels.append(channel)
        return channel

    def close_channel(self, channel: Channel, timeout_s: float) -> None:
        """Close a channel and stop watching it."""
        if channel in self._channels:
            self._channels.remove(channel)
        try:
            channel.close(timeout_s)
        except ConnectionLost as exc:
            self._lost(exc)
            raise

    def drop(self, reason: BrokerError) -> None:
        """Abandon the connection for ``reason``, at once; ``connect`` opens a new one.

        A refusal is waited out like a refused login.
        """
        if self._connection is not None:
            self._lost(reason)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close for good: cleanly for at most ``timeout_s``, then without the broker."""
        if self._state is ConnectionState.CLOSED:
            return
        connection, self._connection, self._channels = self._connection, None, []
        if connection is not None:
            connection.close(timeout_s)
        self._waker.close()
        self._enter(ConnectionState.CLOSED)

    # --- attempts -----------------------------------------------------------

    def _attempt(self, stop: threading.Event, on_wait: Callable[[], None]) -> None:
        """Try every host once, beginning with the one after the last tried."""
        self._enter(ConnectionState.CONNECTING)
        hosts = self.settings.hosts
        for tried in range(1, len(hosts) + 1):
            if stop.is_set():
                raise ConnectionLost("asked to stop")
            on_wait()
            address = hosts[self._next_host]
            self._next_host = (self._next_host + 1) % len(hosts)
            try:
                self._open(address)
                return
            except (ConnectionLost, AccessRefused, ConfigError) as exc:
                self._failed(exc)
                if tried == len(hosts) or not self._is_worth_waiting(exc):
                    self._failures += 1
                    raise

    def _open(self, address: str) -> None:
        connection = BrokerConnection(
            parameters(self.settings, address, name=self.name),
            where=address,
            waker=self._waker,
            files=broker_files(self.settings),
        )
        connection.on_blocked(
            lambda: self._enter(ConnectionState.BLOCKED), lambda: self._enter(ConnectionState.OPEN)
        )
        self._connection = connection
        if self._was_open:
            self._reconnects += 1
        self._was_open = True
        self._down_since_s = None
        self._logged = ("", 0.0)
        self._opened_s = monotonic_s()
        self._enter(ConnectionState.OPEN)
        log.info("connection %s: open to %s", self.name, address, extra=CONNECTION_OPENED)

    def _failed(self, exc: OrderMQError) -> None:
        self._last_error = exc
        if self._was_open and not exc.retryable:
            # Only a person can mend it. The process waits instead of ending.
            log.error(
                "connection %s: %s; waiting until a person mends it", self.name, exc, extra=CONNECTION_REFUSED
            )
            return
        text, at_s = self._logged
        is_news = text != str(exc) or monotonic_s() - at_s >= _REPEAT_LOG_S
        log.log(
            logging.WARNING if is_news else logging.DEBUG,
            "connection %s: %s",
            self.name,
            exc,
            extra=CONNECTION_FAILED,
        )
        if is_news:
            self._logged = str(exc), monotonic_s()

    def _is_worth_waiting(self, exc: BaseException) -> bool:
        if self._down_s >= self.settings.give_up_after_s:
            return False
        if isinstance(exc, AccessRefused | ConfigError):
            return self._was_open
        return isinstance(exc, ConnectionLost)

    def _delay_s(self, retry: RetryCallState) -> float:
        failed = retry.outcome.exception() if retry.outcome else None
        delay_s = self._reconnect_delay.delay_s(failed, self._failures)
        return min(delay_s, max(0.0, self.settings.give_up_after_s - self._down_s))

    @property
    def _down_s(self) -> float:
        return 0.0 if self._down_since_s is None else monotonic_s() - self._down_since_s

    # --- states -------------------------------------------------------------

    def _lost(self, reason: BrokerError) -> None:
        connection, self._connection, self._channels = self._connection, None, []
        if connection is not None:
            connection.abandon()
        now_s = monotonic_s()
        was_healthy = now_s - self._opened_s >= self.settings.healthy_after_s
        self._failures = 0 if was_healthy else self._failures + 1
        self._down_since_s = now_s
        self._last_error = reason
        self._enter(ConnectionState.CONNECTING)
        level = logging.WARNING if reason.retryable else logging.ERROR
        log.log(level, "connection %s: lost: %s", self.name, reason, extra=CONNECTION_LOST)

    def _enter(self, state: ConnectionState) -> None:
        if state is self._state:
            return
        self._state = move(self._state, state)
        self._entered_s = monotonic_s()
        if self._on_state is None:
            return
        try:
            self._on_state(state)
        except Exception:  # an observer must not break the connection
            log.exception(
                "connection %s: the observer of its states failed", self.name, extra=OBSERVER_FAILED
            )


def _wait(seconds: float, stop: threading.Event, on_wait: Callable[[], None]) -> None:
    deadline = Deadline(seconds)
    while not deadline.has_passed and not stop.wait(min(1.0, deadline.left_s)):
        on_wait()
