r"""What each role may do on the broker: the least that its processes and commands need. Pure.

    relay                relays to the exchange of commands, and looks at the queues; publishes events
    events               reads the stream of events
    consumer of a queue  reads its queue
    deployer             declares and binds everything under the prefix
    monitor, operators   ask the management API; operator-write publishes with ``ordermq-publish messages``

All other roles work in the database alone and need no user here. Looking at a queue is a passive declaration.
Since RabbitMQ 4.3.1 that takes any permission on the queue. Given is ``write``, by which nothing happens to
it: to bind it takes ``read`` of an exchange, too. ``configure`` could delete it, ``read`` could empty it.
Permissions go by names, and the dead-letter exchange has the name of its queue: the relay, which publishes
any command anyway, may publish there. Operators may not: the management API says what they look at.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ordermq.topology.names import DEAD, EVENTS, event_log, queue_name


class BrokerGrants(NamedTuple):
    """What a user may configure, write and read, as regular expressions of whole names; and its tags."""

    configure: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __or__(self, other: "BrokerGrants") -> "BrokerGrants":
        """Return what one user may do who is both."""
        return BrokerGrants(*(tuple(dict.fromkeys((*a, *b))) for a, b in zip(self, other, strict=True)))


def broker_grants(
    prefix: str, queues: Iterable[str], *, management: bool, events: bool = False
) -> dict[str, BrokerGrants]:
    """Return what each role may do that needs a user. ``queues`` are short names, without ``dead``.

    ``management``: relay and consumers ask the management API, too. ``events``: the relay publishes events.
    """
    names = {queue: queue_name(prefix, queue).replace(".", r"\.") for queue in (*queues, DEAD)}
    relays = (prefix, *names.values())
    everything = (rf"{prefix}(\..+)?",)
    nodes = ("monitoring",)
    found = {
        "deployer": BrokerGrants(everything, everything, everything, ("management",)),
        "relay": BrokerGrants(write=relays, tags=nodes if management else ()),
    }
    for queue, name in names.items():
        found[f"consumer-{queue}"] = BrokerGrants(read=(name,), tags=("management",) if management else ())
    if events:
        found["relay"] |= BrokerGrants(write=(queue_name(prefix, EVENTS).replace(".", r"\."),))
        found["events"] = BrokerGrants(read=(event_log(prefix).replace(".", r"\."),))
    found["monitor"] = found["operator-read"] = BrokerGrants(tags=nodes)
    found["operator-write"] = BrokerGrants(write=(prefix,), tags=nodes)
    return found


def pattern(names: tuple[str, ...]) -> str:
    """Return the regular expression that matches these names and no other."""
    if len(names) == 1:
        return f"^{names[0]}$"
    return f"^({'|'.join(names)})$" if names else "^$"
