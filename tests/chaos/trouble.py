"""Handlers that fail in every way a handler can, for F25."""

import os

from ordermq.message.payload import Payload
from ordermq.module import Module
from ordermq.task import DONE, handler

TABLE = "CREATE TABLE trouble_done (order_id text NOT NULL)"


class Trouble(Payload):
    """``do``: ok, raise, base, memory, loop, exit."""

    order_id: str
    do: str = "ok"


class Unexpected(BaseException):
    """Not even an Exception."""


@handler(queue="trouble", message=Trouble, key="order_id")
def make_trouble(message, tx):
    match message.do:
        case "raise":
            raise RuntimeError("asked to raise")
        case "base":
            raise Unexpected("asked to raise what is no Exception")
        case "memory":
            raise MemoryError
        case "loop":
            while True:
                pass
        case "exit":
            os._exit(9)
    tx.execute("INSERT INTO trouble_done VALUES (%s)", (message.order_id,))
    return DONE


module = Module("trouble", handlers=[make_trouble])
