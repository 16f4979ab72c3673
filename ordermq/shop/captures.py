"""The captures of an order, one after another: another card, a new number, a new key.

    the capture before was                 a new one may begin
    declined                               with another card, under the next number and a new key
    refunded, all of it                    likewise, when the order is opened again
    never begun, or failed: nothing taken  under the same number and key
    anything else                          never

The row of shop.payments is the present capture. Those before it are in shop.earlier_payments.

Invariants
    CAP1  Only the present capture of an order can be open. The next one begins in the transaction that
        writes down the one before as declined or refunded; triggers hold that too.
    CAP2  A number has one key, a key has one number, and neither comes again.
    CAP3  A result that is reported of an earlier capture never changes the present one. If it says
        that money was taken after all, a person has to look.
"""

from ordermq.errors import OrderConflict
from ordermq.shop.model import check_card_token
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.task import Transaction

ENDED = frozenset({PaymentState.DECLINED, PaymentState.REFUNDED})
"""What a capture must be before the next one begins under a key of its own."""

UNUSED = frozenset({PaymentState.NEXT, PaymentState.FAILED})
"""Known to have taken nothing: the same capture may be tried, under its own key."""

_KEEP = """
    INSERT INTO shop.earlier_payments
           (order_id, capture_no, idempotency_key, amount_minor, currency, state, capture_id, reason)
    SELECT order_id, capture_no, idempotency_key, amount_minor, currency, state, capture_id, reason
      FROM shop.payments WHERE order_id = %s
"""

_NEXT = """
    UPDATE shop.payments
       SET capture_no = capture_no + 1, idempotency_key = %s, state = 'next', capture_id = NULL,
           refund_id = NULL, reason = NULL, action_at = NULL, updated_at = now()
     WHERE order_id = %s
"""

_TAKEN_LATE = "SELECT capture_no FROM shop.earlier_payments WHERE order_id = %s AND state = 'captured'"

_CARD = "UPDATE shop.contacts SET card_token = %s WHERE order_id = %s AND card_token IS DISTINCT FROM %s"
_CARD_OF = "SELECT card_token FROM shop.contacts WHERE order_id = %s"


def next_key(key: str, capture_no: int) -> str:
    """Return the key of the capture after number ``capture_no``, which has ``key``. Pure."""
    first = key.removesuffix(f":{capture_no}") if capture_no > 1 else key
    return f"{first}:{capture_no + 1}"


def replace_card(order_id: str, card_token: str, tx: Transaction) -> int:
    """Let the order's next capture take its money from this card; return the number of that capture.

    The caller has locked the order. Raises BadInput for what is no token, or OrderConflict if the
    capture before may have taken money.
    """
    check_card_token(card_token)
    payment = Payments([order_id], tx, settles_s=0.0).rows.get(order_id)
    number = _begin_next(payment, tx) if payment is not None else 1
    tx.write(_CARD, (card_token, order_id, card_token))
    return number


def has_card(order_id: str, card_token: str, tx: Transaction) -> bool:
    """Say whether the order is being paid, or was paid, with this card."""
    row = tx.fetch_one(_CARD_OF, (order_id,))
    return row is not None and row[0] == card_token


def _begin_next(payment: Payment, tx: Transaction) -> int:
    if payment.state in UNUSED:
        return payment.capture_no
    if payment.state not in ENDED:
        raise OrderConflict(f"order {payment.order_id}: its payment is {payment.state}; it must end first")
    if late := tx.fetch_one(_TAKEN_LATE, (payment.order_id,)):
        raise OrderConflict(
            f"order {payment.order_id}: its capture {late[0]} took the money although it was declined; refund"
            " it at the payment service, and place the order again under another id"
        )
    tx.write(_KEEP, (payment.order_id,))
    tx.write(_NEXT, (next_key(payment.idempotency_key, payment.capture_no), payment.order_id))
    return payment.capture_no + 1
