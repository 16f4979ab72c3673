"""A channel per calling thread, on one connection that an I/O thread owns.

For callers that need a channel of their own: topology, tools, users. Publishing has
``Publisher`` and consuming ``subscribe``; both are faster.

Invariants
    CHA1  Only the I/O thread touches the connection and the channels; callers wait.
    CHA2  A channel serves one thread. It is closed when that thread has ended, and
        replaced after the broker closed it.
    CHA3  A caller returns within its deadline. A call that had not begun is then never
        begun.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ordermq.amqp._pika import Channel
from ordermq.amqp.connection import ConnectionManager, StateObserver
from ordermq.clock import Deadline
from ordermq.config.settings import BrokerSettings
from ordermq.errors import BrokerError, ConnectionLost, OrderMQError
from ordermq.lifecycle import ThreadService

T = TypeVar("T")


@dataclass(slots=True)
class _Call:
    run: Callable[[Channel], Any]
    deadline: Deadline
    caller: threading.Thread = field(default_factory=threading.current_thread)
    result: Future[Any] = field(default_factory=Future)


class ChannelPool(ThreadService):
    """Runs callers' functions on their channels, one at a time, in the I/O thread."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        name: str,
        limit: int = 32,
        on_state: StateObserver | None = None,
    ) -> None:
        """At most ``limit`` threads have a channel at the same time."""
        super().__init__(f"channels-{name}")
        self.connection = ConnectionManager(settings, name=name, on_state=on_state)
        self._limit = limit
        self._lock = threading.Lock()  # guards the two below
        self._calls: deque[_Call] = deque()
        self._is_over = False
        self._channels: dict[threading.Thread, Channel] = {}  # the I/O thread's

    def call(self, run: Callable[[Channel], T], timeout_s: float) -> T:
        """Run ``run(channel)`` in the I/O thread and return its result; at most ``timeout_s``.

        ``run`` may wait on its channel but should do nothing else that takes time:
        every other caller waits meanwhile. Raises what ``run`` raises (QueueMissing,
        TopologyConflict, AccessRefused and ChannelLost cost the channel), ConnectionLost
        if there was no connection or no answer in time, or all ``limit`` channels are
        taken, and whatever ended the pool.
        """
        call = _Call(run, Deadline(timeout_s))
        with self._lock:
            is_over = self._is_over or self.stopping.is_set()
            if not is_over:
                self._calls.append(call)
        if is_over:
            raise self._ended()
        self.connection.wake()
        if wait([call.result], timeout_s).not_done:
            if call.result.cancel():
                raise ConnectionLost(f"no connection within {timeout_s:g} s ({self.connection.last_error})")
            raise ConnectionLost(f"no answer within {timeout_s:g} s")
        result: T = call.result.result()
        return result

    def stop(self) -> None:
        super().stop()
        self.connection.wake()

    def main(self) -> None:
        try:
            while self.connection.connect(self.stopping):
                try:
                    self._serve()
                    return
                except ConnectionLost:
                    self._channels.clear()  # they died with the connection
        finally:
            with self._lock:
                self._is_over = True
            while (call := self._next()) is not None:
                call.result.set_exception(self._ended())
            self.connection.close()

    def _serve(self) -> None:
        while not self.stopping.is_set():
            while (call := self._next()) is not None:
                self._run(call)
            self._release()
            try:
                self.connection.tick(1.0)
            except ConnectionLost:
                raise
            except BrokerError:
                continue  # one thread's channel: it gets another with its next call

    def _next(self) -> _Call | None:
        """The oldest call that somebody still waits for."""
        while True:
            with self._lock:
                if not self._calls:
                    return None
                call = self._calls.popleft()
            if not call.deadline.has_passed and call.result.set_running_or_notify_cancel():
                return call

    def _run(self, call: _Call) -> None:
        try:
            call.result.set_result(call.run(self._channel_of(call)))
        except BaseException as exc:  # it is the caller's, in the caller's thread
            call.result.set_exception(exc)

    def _channel_of(self, call: _Call) -> Channel:
        channel = self._channels.get(call.caller)
        if channel is None or not channel.is_alive:
            self._channels.pop(call.caller, None)
            if len(self._channels) >= self._limit:
                raise ConnectionLost(f"all {self._limit} channels of pool {self.connection.name} are taken")
            channel = self.connection.open_channel(call.deadline.left_s)
            self._channels[call.caller] = channel
        return channel

    def _release(self) -> None:
        """Close the channels of threads that have ended."""
        for thread in [thread for thread in self._channels if not thread.is_alive()]:
            self.connection.close_channel(self._channels.pop(thread), 1.0)

    def _ended(self) -> OrderMQError:
        if isinstance(self.failure, OrderMQError):
            return self.failure
        return ConnectionLost(f"channel pool {self.connection.name} is stopped")
