"""The next release, for F30: it also reads version 99 of what is sent to points, and has one handler more."""

from ordermq.message.payload import Payload
from ordermq.module import Module
from ordermq.shop.commands import AdjustPoints, AwardPoints
from ordermq.task import DONE, handler

AwardPoints.VERSION = 99
AdjustPoints.VERSION = 99


class New(Payload):
    """What this release does not know."""

    order_id: str


@handler(queue="next", message=New, key="order_id")
def do_something_new(message, tx):
    return DONE


module = Module("next_release", handlers=[do_something_new])
