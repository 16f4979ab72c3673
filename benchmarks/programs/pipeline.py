"""Bare pika with pipelined confirms: a window of publishings ahead of theirs."""

from collections.abc import Iterable
from typing import Any

import pika

WINDOW = 500  # as ordermq's broker.publish_window


def connect(job: dict[str, Any]) -> pika.BlockingConnection:
    """Return a connection to the job's virtual host."""
    return pika.BlockingConnection(pika.URLParameters(job["amqp"]["url"]))


class NotConfirmed(Exception):
    """The broker returned a message or nacked it."""


class Pipeline:
    """A channel in confirm mode whose publishings wait for no confirm before the window is full."""

    def __init__(self, connection: pika.BlockingConnection, window: int = WINDOW) -> None:
        self._connection = connection
        self._channel = connection.channel()._impl  # the public asynchronous channel inside
        self._window = window
        self._tag = 0
        self._unconfirmed: dict[int, None] = {}
        self._wake_at = -1
        self._failure = ""
        ready: list[object] = []
        self._channel.add_on_return_callback(self._on_return)
        self._channel.confirm_delivery(self._on_confirm, callback=ready.append)
        while not ready:
            connection.process_data_events(0.1)

    def publish_all(
        self, exchange: str, key: str, items: Iterable[tuple[pika.BasicProperties, bytes]]
    ) -> int:
        """Publish everything, persistent and mandatory; return how many, once all are confirmed."""
        published = 0
        for properties, body in items:
            if len(self._unconfirmed) >= self._window:
                self._drain(self._window // 2)
            self._channel.basic_publish(exchange, key, body, properties, mandatory=True)
            self._tag += 1
            self._unconfirmed[self._tag] = None
            published += 1
        self._drain(0)
        return published

    def _drain(self, most: int) -> None:
        self._wake_at = most
        while len(self._unconfirmed) > most and not self._failure:
            self._connection.process_data_events(1.0)
        self._wake_at = -1
        if self._failure:
            raise NotConfirmed(self._failure)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, pika.spec.Basic.Nack):
            self._failure = f"nacked: {method.delivery_tag}"
        if method.multiple:
            for tag in [tag for tag in self._unconfirmed if tag <= method.delivery_tag]:
                del self._unconfirmed[tag]
        else:
            self._unconfirmed.pop(method.delivery_tag, None)
        if len(self._unconfirmed) <= self._wake_at:
            self._connection.call_later(0, _nothing)  # ends process_data_events at once

    def _on_return(self, _channel: object, method: Any, _properties: object, _body: bytes) -> None:
        self._failure = f"returned: {method.reply_code} {method.reply_text}"


def _nothing() -> None: ...
