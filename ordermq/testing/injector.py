"""Duplicates and disorder between the relay and the consumers, as a broker may cause them.

    with Injector(settings, exchange="orders", queues=("inventory", "payment"), seed=7):
        ...

Each queue's binding is led through a side queue. What arrives there is published to the
queue it was meant for, one to ``copies`` times, shuffled within a window.

Invariants
    INJ1  A message is acked only after all its copies were confirmed, so the injector loses
        none. The broker delivers again what the injector held when its connection broke.
    INJ2  The queue is unbound only after its side queue is bound, and bound again before the
        side queue is unbound: a mandatory publishing always finds a queue.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ordermq.amqp import ConnectionManager, Publisher, PublishOutcome, Subscription, subscribe
from ordermq.clock import monotonic_s
from ordermq.config.settings import BrokerSettings
from ordermq.errors import BrokerError, ConnectionLost
from ordermq.lifecycle import ThreadService
from ordermq.message.envelope import Delivery, Publishing
from ordermq.testing.wait import wait_until

log = logging.getLogger(__name__)

_CALL_S = 10.0
_WINDOW_S = 0.1
_TICK_S = 0.02
_NEVER = threading.Event()


@dataclass(frozen=True)
class _Held:
    delivery: Delivery
    subscription: Subscription
    queue: str


class Injector(ThreadService):
    """Stands before ``queues`` of ``exchange``; use it as a context manager.

    A window ends after ``window`` messages or a tenth of a second. ``taken`` and
    ``published`` count messages and copies. The broker's user must be allowed to
    declare queues.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        exchange: str,
        queues: Sequence[str],
        copies: int = 5,
        window: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__("injector")
        self.taken = 0
        self.published = 0
        self._exchange = exchange
        self._queues = tuple(queues)
        self._copies = copies
        self._window = window
        self._random = Random(seed)
        self._manager = ConnectionManager(settings, name="injector")
        self._publisher = Publisher(settings, name="injector")
        self._epoch = 0
        self._is_ready = False

    def __enter__(self) -> Self:
        self._publisher.start()
        self.start()
        wait_until(lambda: self._is_ready or self.failure is not None, 30.0, what="the injector stands")
        self._raise_failure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hand on what is left, and put the bindings back as they were. Raises what ended the thread."""
        self.stop()
        self.join(60.0)
        self._publisher.stop()
        self._publisher.join(_CALL_S)
        if error is None:
            self._raise_failure()

    def main(self) -> None:
        try:
            while True:
                # A stop does not end this wait: the messages in the side queues must be handed on first.
                self._manager.connect(_NEVER)
                try:
                    return self._serve()
                except BrokerError as exc:
                    log.warning("injector: %s; connecting again", exc)
                    self._manager.drop(ConnectionLost(str(exc)))
        finally:
            self._manager.close()

    def _serve(self) -> None:
        self._epoch += 1
        subscriptions = {queue: self._lead_through(queue) for queue in self._queues}
        self._is_ready = True
        held: list[_Held] = []
        since_s = monotonic_s()
        is_led_back = False
        while True:
            self._manager.tick(_TICK_S)
            for queue, subscription in subscriptions.items():
                subscription.check()
                held += [_Held(each, subscription, queue) for each in subscription.take()]
            if len(held) >= self._window or monotonic_s() - since_s >= _WINDOW_S:
                self._hand_on(held)
                is_idle = not held
                held, since_s = [], monotonic_s()
                if is_led_back and is_idle and self._is_drained():
                    return
                if self.stopping.is_set() and not is_led_back:
                    self._lead_back()
                    is_led_back = True

    def _hand_on(self, held: Sequence[_Held]) -> None:
        copies = [each for each in held for _ in range(self._random.randint(1, self._copies))]
        self._random.shuffle(copies)
        outcomes = self._publisher.publish_many([self._copy(each) for each in copies])
        lost = {
            id(each)
            for each, outcome in zip(copies, outcomes, strict=True)
            if outcome is not PublishOutcome.CONFIRMED
        }
        for each in held:
            if id(each) in lost:
                each.subscription.nack(each.delivery.tag)
            else:
                each.subscription.ack(each.delivery.tag)
                self.taken += 1
        self.published += len(copies) - len(lost)

    def _copy(self, held: _Held) -> Publishing:
        # The default exchange leads to the queue itself, whatever is bound. The consumer must not
        # read how often the broker delivered the message to the injector.
        properties = held.delivery.properties
        headers = {name: value for name, value in properties.headers.items() if name != "x-delivery-count"}
        return Publishing(
            "", self._target(held.queue), replace(properties, headers=headers), held.delivery.body
        )

    def _lead_through(self, queue: str) -> Subscription:
        channel = self._manager.open_channel()
        side = self._side(queue)
        channel.call("queue_declare", _CALL_S, queue=side, durable=True)
        if not self.stopping.is_set():
            self._bind("queue_bind", side, queue)
            self._bind("queue_unbind", self._target(queue), queue)
        self._manager.close_channel(channel, _CALL_S)
        return subscribe(
            self._manager,
            side,
            prefetch=2 * self._window,
            consumer_tag=f"injector.{queue}",
            epoch=self._epoch,
        )

    def _lead_back(self) -> None:
        for queue in self._queues:
            self._bind("queue_bind", self._target(queue), queue)
            self._bind("queue_unbind", self._side(queue), queue)

    def _bind(self, method: str, queue: str, key: str) -> None:
        channel = self._manager.open_channel()
        channel.call(method, _CALL_S, queue=queue, exchange=self._exchange, routing_key=key)
        self._manager.close_channel(channel, _CALL_S)

    def _is_drained(self) -> bool:
        channel = self._manager.open_channel()
        sides = [self._side(queue) for queue in self._queues]
        waiting = [
            channel.call("queue_declare", _CALL_S, queue=side, passive=True).message_count for side in sides
        ]
        if not any(waiting):
            for side in sides:
                # The broker refuses it if a message is in the queue after all, so that none is lost.
                channel.call("queue_delete", _CALL_S, queue=side, if_empty=True)
        self._manager.close_channel(channel, _CALL_S)
        return not any(waiting)

    def _target(self, queue: str) -> str:
        return f"{self._exchange}.{queue}"

    def _side(self, queue: str) -> str:
        return f"{self._exchange}.{queue}.injector"

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure
