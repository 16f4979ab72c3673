"""Payloads of the files beside this one."""

from ordermq import Payload


class WrapGift(Payload):
    order_id: str
    ribbon: str = "red"


class ShipGift(Payload):
    order_id: str
