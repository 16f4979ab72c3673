"""How a third party misbehaves: by the end of a card token, phone number or address, or by rates.

The last four characters decide, of an e-mail address those before the @, whatever the rates are:

====  ==================================================================
0002  declined (payment: 402; SMS: 422; e-mail: 550)
0003  done, but the first request gets no answer
0004  not done and no answer the first time; done the second
0005  503 the first time (e-mail: 451); done the second
0006  503 with Retry-After, always (e-mail: 451)
0007  captured, but ``pending`` in the first answer
0008  captured, but only one minor unit of the amount
0009  waits for the customer, as with 3-D Secure, until that is confirmed or cancelled
====  ==================================================================

*The first time* is counted per idempotency key (SMS: per reference and number, e-mail: per
address and e-mail) and survives a restart. All others follow the rates of ``POST /v1/behaviour``.
Chance is drawn from the seed, the key and how many faults the key has suffered, so a run is
repeatable however its requests interleave.

*No answer* holds the connection open for ``hold_s`` seconds, or until the client
leaves, and then closes it.
"""

from enum import Enum
from random import Random
from typing import Annotated

import msgspec

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Behaviour(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="behaviour", tag_field="kind"
):
    """The rates; what a request to change them leaves out returns to its default."""

    decline: Rate = 0.0
    timeout: Rate = 0.0
    error: Rate = 0.0
    latency_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0.0
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0
    seed: int = 1
    forget_keys_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = (
        0.0  # an idempotency key is new after this
    )
    stored_errors: bool = False  # a 500 is the answer to its key from then on, as at Stripe
    lookup: bool = True

    def declines(self, name: str, key: str) -> bool:
        """Whether the request of this key is declined; every repetition gets the same."""
        if name[-4:] in ENDINGS:
            return name.endswith("0002")
        return self.decline > 0 and Random(f"{self.seed}:{key}:decline").random() < self.decline

    def fault(self, name: str, key: str, suffered: int) -> "Fault":
        """What goes wrong with the next request of ``key``, which has ``suffered`` so many faults."""
        if name[-4:] in ENDINGS:
            fault, times = ENDINGS[name[-4:]]
            return fault if suffered < times else Fault.NONE
        if not self.error and not self.timeout:
            return Fault.NONE
        random = Random(f"{self.seed}:{key}:{suffered}")
        drawn = random.random()
        if drawn < self.error:
            return Fault.ERROR
        if drawn < self.error + self.timeout:
            return random.choice((Fault.LOST, Fault.MUTE))
        return Fault.NONE


def is_pending(name: str) -> bool:
    """Whether the first answer about a capture with this card token says ``pending``."""
    return name.endswith("0007")


def needs_action(name: str) -> bool:
    """Whether a capture with this card token waits for the customer."""
    return name.endswith("0009")


def taken_minor(name: str, amount_minor: int) -> int:
    """Return how much is taken from the card of this token when ``amount_minor`` is asked for."""
    return 1 if name.endswith("0008") else amount_minor


class Fault(Enum):
    """What may go wrong with a request."""

    NONE = "none"
    ERROR = "503, nothing done"
    LOST = "no answer, nothing done"
    MUTE = "no answer, but done"


ALWAYS = 2**31
#: Ending: which fault, and how often.
ENDINGS = {
    "0002": (Fault.NONE, 0),
    "0003": (Fault.MUTE, 1),
    "0004": (Fault.LOST, 1),
    "0005": (Fault.ERROR, 1),
    "0006": (Fault.ERROR, ALWAYS),
}
