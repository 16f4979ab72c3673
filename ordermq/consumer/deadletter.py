"""What the broker dead-lettered, on its way from ``<prefix>.dead`` into ``dead_letters``.

No consumer of ordermq rejects a message, so another client did, or a length limit, a TTL or a
delivery limit of a policy. Each becomes a dead letter of the queue it died in, with all that
follows there, unless the inbox of that queue says that it needs none:

    no handler can read it    a dead letter, whatever the inbox holds under its id
    settled as done           nothing is owed any more: it is acked
    settled at this hop       what became of it is written elsewhere (a retry, a dead letter): acked
    a lease is on it          it may have been called: back to its queue, whose handler can ask
    everything else           a dead letter, and its handler's on_dead

Everything read here is untrusted: any client that may publish may write these headers too.
"""

from collections.abc import Collection
from functools import partial

from msgspec.structs import replace

from ordermq.consumer import starts
from ordermq.consumer.received import Message, Readable, Received, Unreadable, decode, read, unreadable
from ordermq.consumer.settle import Settler
from ordermq.consumer.starts import Suspect, decode_suspect
from ordermq.consumer.worker import Worker
from ordermq.message.envelope import MAX_HOP, Delivery
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


class DeadLetterWorker(Worker):
    """One of several threads that keep what the broker dead-lettered."""

    def _work(self) -> None:
        intake = self._context.intake
        while not intake.is_closed:
            with self._waiting():
                deliveries = intake.take(self._batch)
            for delivery in deliveries:
                self._keep(delivery)

    def _keep(self, delivery: Delivery) -> None:
        context = self._context
        queue = origin(delivery, context.settings.topology.prefix, context.queues)
        settler = context.settler_on(self._settler.session, queue)
        [received] = read([delivery], queue, context.registry, context.verifier)
        if queue == DEAD:
            received = _of_no_queue(received)
        reason = why(delivery)
        if suspect := self._begin(settler, received):
            with self._locked(context.lock.alone()):
                self._persist(partial(starts.begin_alone, settler.session, queue, suspect))
                message = decode_suspect(suspect, queue, context.registry)
                self._persist(partial(keep, settler, message, reason))
        else:
            with self._locked(context.lock.together()):
                message = decode(received, queue, context.registry)
                self._persist(partial(keep, settler, message, reason))
        self._settler.has_sent |= settler.has_sent
        self._report([message])

    def _begin(self, settler: Settler, received: Received) -> Suspect | None:
        """Commit a start if the message came back: its on_dead may be what ended the process."""
        if not received.is_suspect:
            return None
        begin = partial(starts.begin_together, settler.session, settler.queue, [received])
        return next(iter(self._persist(begin)), None)


def keep(settler: Settler, message: Message, reason: str) -> None:
    """Settle ``message``, which died in the settler's queue, as the table above says. May be repeated."""
    if isinstance(message, Unreadable):
        settler.settle([(message, Dead(f"{reason}; {message.fault}"))])
    elif not (message.handler.is_external and _was_leased(settler, message, reason)):
        settler.settle([(message, Dead(reason))])


def _was_leased(settler: Settler, message: Readable, reason: str) -> bool:
    """Send a message back to its queue, and return True, if a lease is on it."""
    if message.envelope.hop >= MAX_HOP:
        return False
    with settler.session.transaction() as tx:
        left_s = leases.left(tx, settler.queue, [message.message_id]).get(message.message_id)
        if left_s is not None:
            settler.send_again(tx, [(message, Postpone(reason, left_s + 0.1))])
    settler.note_sent(tx)
    return left_s is not None


def _of_no_queue(received: Received) -> Unreadable:
    # Version 0 says that there is no queue to replay it to.
    asks = True
    fault = "nothing says which queue it died in"
    if isinstance(received, Unreadable):
        fault, asks = received.fault, received.asks_modules
    return unreadable(
        replace(received, envelope=replace(received.envelope, version=0)), fault, asks_modules=asks
    )


def _deaths(delivery: Delivery) -> list[dict[str, object]]:
    # The newest comes first.
    deaths = delivery.properties.headers.get("x-death")
    return [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
