"""Faults of the services that the shop calls."""

from typing import ClassVar

from ordermq.errors import OrderConflict, OrderMQError
from ordermq.shop.cancel import cancel_order
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault

_ASKED = """
    SELECT d.message_id, d.reason, o.order_id, o.attention_reason IS NOT NULL
      FROM ordermq.dead_letters AS d LEFT JOIN shop.orders AS o ON o.order_id = d.correlation_id
     WHERE d.queue = 'payment'
"""
# A person is asked about these; all others were paid or gave the money back, or nothing was taken.
_WAITING = "SELECT order_id FROM shop.orders WHERE attention_reason IS NOT NULL"
_UNSETTLED = "SELECT order_id FROM shop.orders WHERE status NOT IN ('paid', 'completed')"


def change_minds(arena: Arena, orders: int = 3) -> None:
    """Cancel orders in whatever state they are."""
    under_way = arena.rows(
        "SELECT order_id FROM shop.orders WHERE terminal_at IS NULL ORDER BY random() LIMIT %s", orders
    )
    for (order_id,) in under_way:
        try:
            with arena.session.transaction() as tx:
                cancel_order(order_id, tx, "changed their mind")
        except OrderConflict:
            continue  # it was paid meanwhile
        except OrderMQError as exc:
            if not exc.retryable:
                raise


class Forgetful(Fault):
    name = "F31"
    title = "payment service forgets keys, no look-up"
    expect = "no key is used after it may have died; a person is asked about what nobody can learn"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqAttention",
        "OrdermqBreakerOpen",
        "OrdermqFailureBudgetBurns",
        "OrdermqNewDeadLetters",
    }
    rate = 100.0
    recovers_within_s = 30.0
    KEY_LIFE_S = 8  # longer than shop.capture_settles_s, or no call could be repeated
    settings: ClassVar = {
        "ORDERMQ_SHOP_PAYMENT_KEY_LIFE_S": str(KEY_LIFE_S),
        "ORDERMQ_SHOP_PAYMENT_LOOKUP": "false",
    }
    SERVICE: ClassVar = {"forget_keys_s": KEY_LIFE_S, "stored_errors": True, "lookup": False, "hold_s": 2}

    def prepare(self, arena: Arena) -> None:
        arena.sandbox.behave("payment", **self.SERVICE)

    def strike(self, arena: Arena) -> None:
        arena.sandbox.behave("payment", **self.SERVICE, error=0.05, timeout=0.05)
        for _ in range(8):
            change_minds(arena)
            arena.pause(0.5)
        arena.sandbox.kill()
        arena.pause(self.KEY_LIFE_S + 1.0)
        arena.sandbox.start()
        arena.sandbox.behave("payment", **self.SERVICE)
        arena.healed()

    def verify(self, arena: Arena) -> None:
        waiting = {order_id for (order_id,) in arena.rows(_WAITING)}
        dead = arena.rows(_ASKED)
        arena.wanted_dead = {("payment", message_id) for message_id, *_ in dead}
        unasked = [order_id for _, _, order_id, is_asked in dead if not is_asked]
        arena.expect(not unasked, f"dead letters about which nobody is asked: {unasked[:5]}")
        reasons = {reason for _, reason, *_ in dead if "has no look-up" not in reason}
        arena.expect(not reasons, f"dead for another reason: {sorted(reasons)[:3]}")
        arena.expect(waiting, "everything could be learned: the fault did not strike")
        left = open_captures(arena) & {order_id for (order_id,) in arena.rows(_UNSETTLED)}
        arena.expect(
            left <= waiting, f"money of these was kept and nobody asked: {sorted(left - waiting)[:5]}"
        )
        arena.notes.append(f"{len(left)} captures that nobody could learn about")


def open_captures(arena: Arena) -> set[str]:
    """Return the orders of which the payment service keeps money."""
    kept_minor: dict[str, int] = {}
    for entry in arena.sandbox.ledger("payment"):
        sign = 1 if entry["kind"] == "capture" else -1
        kept_minor[entry["order_id"]] = kept_minor.get(entry["order_id"], 0) + sign * entry["amount_minor"]
    return {order_id for order_id, minor in kept_minor.items() if minor > 0}


FAULTS = (Forgetful(),)
