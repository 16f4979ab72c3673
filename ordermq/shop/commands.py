"""The messages of the order pipeline, and the step that each of them is for. Pure.

A message carries ids only. Its handler reads the rest from the database, so a message
in a queue, a log line or a dead letter holds no personal and no outdated data.
"""

from enum import StrEnum

from ordermq.errors import MalformedMessage
from ordermq.message import Command, Payload
from ordermq.message.payload import decode
from ordermq.shop.events import EMAIL_OF, Step

INVENTORY = "inventory"
PAYMENT = "payment"
NOTIFY = "notify"
EMAIL = "email"
POINTS = "points"
SHIPPING = "shipping"


class Template(StrEnum):
    """The notifications that a customer can get, as a text or as an e-mail."""

    ORDER_CONFIRMED = "order_confirmed"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_REFUNDED = "order_refunded"
    PAYMENT_DUE = "payment_due"

    @property
    def step(self) -> Step:
        """The step that texts this notification."""
        return _STEPS[self]

    @property
    def email_step(self) -> Step:
        """The step that sends this notification as an e-mail."""
        return EMAIL_OF[self.step]


_STEPS = {
    Template.ORDER_CONFIRMED: Step.NOTIFY_CONFIRMED,
    Template.ORDER_CANCELLED: Step.NOTIFY_CANCELLED,
    Template.ORDER_REFUNDED: Step.NOTIFY_REFUNDED,
    Template.PAYMENT_DUE: Step.NOTIFY_PAYMENT_DUE,
}


class ReserveStock(Payload, frozen=True):
    """Queue ``inventory``: reserve all items of the order, or none."""

    order_id: str


class ReleaseStock(Payload, frozen=True):
    """Queue ``inventory``: release what is reserved for the order."""

    order_id: str


class CapturePayment(Payload, frozen=True):
    """Queue ``payment``: take the order's total from the customer's card."""

    order_id: str


class ExpirePayment(Payload, frozen=True):
    """Queue ``payment``: cancel the order if it still waits for another card; sent when its grace ends."""

    order_id: str


class RefundPayment(Payload, frozen=True):
    """Queue ``payment``: refund what was taken for the order, if anything was, or a part of it."""

    order_id: str


class CreateShipment(Payload, frozen=True):
    """Queue ``shipping``: create the order's shipment and its number; book its stock as shipped."""

    order_id: str


class AwardPoints(Payload, frozen=True):
    """Queue ``points``: credit the customer with the order's points."""

    order_id: str


class AdjustPoints(Payload, frozen=True):
    """Queue ``points``: make the order's points those of the money that was taken and has stayed."""

    order_id: str


class SendNotification(Payload, frozen=True):
    """Queue ``notify``: text the customer this notification of event number ``version``, at most once.

    0 stands in messages that were sent before it was a field of them.
    """

    order_id: str
    template: Template
    version: int = 0


class SendEmail(Payload, frozen=True):
    """Queue ``email``: as ``SendNotification``, by e-mail."""

    order_id: str
    template: Template
    version: int = 0


class AlertOperator(Payload, frozen=True):
    """Queue ``notify``: text the operator that the order's event number ``version`` needs a person."""

    order_id: str
    version: int
    event: str
    step: str | None = None


def command_of(step: Step, order_id: str, version: int, traceparent: str = "") -> Command:
    """Return the command for ``step`` that the order's event number ``version`` sends.

    Its message_id is made of order, version and queue, so a command that is sent again
    for the same event is the same message.
    """
    queue, payload = _message(step, order_id, version)
    return Command(
        queue=queue,
        message_id=f"{order_id}:{version}:{queue}",
        correlation_id=order_id,
        payload=payload,
        traceparent=traceparent,
    )


def step_of_message(type_: str, body: bytes) -> Step | None:
    """Return the step that a message is for; None for one of no step, or that no handler could read."""
    if type_ in _STEP_OF_TYPE:
        return _STEP_OF_TYPE[type_]
    try:
        if type_ == SendNotification.__name__:
            return decode(body, SendNotification).template.step
        return decode(body, SendEmail).template.email_step if type_ == SendEmail.__name__ else None
    except MalformedMessage:
        return None


_SIMPLE: dict[Step, tuple[str, type[Payload]]] = {
    Step.RESERVE: (INVENTORY, ReserveStock),
    Step.RELEASE: (INVENTORY, ReleaseStock),
    Step.CAPTURE: (PAYMENT, CapturePayment),
    Step.EXPIRE: (PAYMENT, ExpirePayment),
    Step.REFUND: (PAYMENT, RefundPayment),
    Step.SHIP: (SHIPPING, CreateShipment),
    Step.AWARD: (POINTS, AwardPoints),
    Step.ADJUST_POINTS: (POINTS, AdjustPoints),
}
_STEP_OF_TYPE = {payload_type.__name__: step for step, (_, payload_type) in _SIMPLE.items()}
_TEXTED = {each.step: each for each in Template}
_MAILED = {each.email_step: each for each in Template}


def _message(step: Step, order_id: str, version: int) -> tuple[str, Payload]:
    if step in _TEXTED:
        return NOTIFY, SendNotification(order_id=order_id, template=_TEXTED[step], version=version)
    if step in _MAILED:
        return EMAIL, SendEmail(order_id=order_id, template=_MAILED[step], version=version)
    queue, payload_type = _SIMPLE[step]
    return queue, payload_type(order_id=order_id)
