"""What the broker dead-lettered, on its way from ``<prefix>.dead`` into ``dead_letters``.

No consumer of ours rejects: it was another client, a length limit, a TTL or a delivery
limit of somebody's policy. Each becomes a dead letter of the queue it died in, with all
that follows there, unless the inbox of that queue says that it needs none:

    settled as done           nothing is owed any more: it is acked
    settled at this hop       what became of it is written elsewhere (a retry, a dead letter): acked
    a lease is on it          it may have been called: back to its queue, whose handler can ask
    everything else           a dead letter, and the step's on_dead

Everything read here is untrusted: whoever may publish may write these headers too.
"""

from collections.abc import Collection

from ordermq.consumer.received import Work
from ordermq.consumer.settle import Settler
from ordermq.message.envelope import Delivery
from ordermq.store import leases
from ordermq.task.outcome import Dead, Postpone
from ordermq.topology.names import DEAD, is_queue, queue_name, short_name

_REASONS = frozenset({"rejected", "expired", "maxlen", "delivery_limit"})


def origin(delivery: Delivery, prefix: str, queues: Collection[str]) -> str:
    """Return the queue that ``delivery`` died in; DEAD if nothing names one of ``queues``.

    What came through the dead-letter exchange was routed by the name of its queue: only
    that of a declared one is bound there, with or without a handler in this process.
    """
    if delivery.exchange == queue_name(prefix, DEAD) and is_queue(delivery.routing_key):
        return delivery.routing_key
    headers = delivery.properties.headers
    named = [delivery.routing_key, *(each.get("queue") for each in _deaths(delivery))]
    for name in [*named, headers.get("x-last-death-queue"), headers.get("x-first-death-queue")]:
        queue = short_name(prefix, name) if isinstance(name, str) else ""
        if queue in queues:
            return queue
    return DEAD


def why(delivery: Delivery) -> str:
    """Return why the broker dead-lettered it, in words for the dead letter's reason."""
    headers = delivery.properties.headers
    said = [*(each.get("reason") for each in _deaths(delivery)), headers.get("x-first-death-reason")]
    for reason in said:
        if isinstance(reason, str) and reason in _REASONS:
            return f"dead-lettered by the broker: {reason}"
    return "found in the broker's dead-letter queue, which does not say why"


def dead_letter(settler: Settler, work: Work, reason: str) -> None:
    """Settle ``work``, which died in the settler's queue, as the table above says. May be repeated."""
    if work.handler is not None and work.handler.is_external:
        message_id = work.envelope.message_id
        with settler.session.transaction() as tx:
            left_s = leases.left(tx, settler.queue, [message_id]).get(message_id)
            if left_s is not None:
                settler.send_again(tx, [(work, Postpone(reason, left_s + 0.1))])
        settler.note_sent(tx)
        if left_s is not None:
            return
    settler.settle([(work, Dead(f"{reason}; {work.fault}" if work.fault else reason))])


def _deaths(delivery: Delivery) -> list[dict[str, object]]:
    # The newest comes first.
    deaths = delivery.properties.headers.get("x-death")
    return [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
