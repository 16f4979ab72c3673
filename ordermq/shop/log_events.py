"""The events that the shop's own log lines tell of; see ``ordermq.log_events``."""

from ordermq.log_events import LogEvent

ORDER_NEEDS_PERSON = LogEvent(
    "order-needs-person", "CRITICAL", "order ... needs a person:",
    "the event, the step and why; `ordermq order show ID`. `dead letter of an unknown order:` is of a "
    "foreign message, or of a database from a backup",
)  # fmt: skip
PLACING_TRIED_AGAIN = LogEvent(
    "order-placing-retried", "WARNING", "trying again:",
    "the database was away while orders were placed",
)  # fmt: skip
WEBHOOK_REFUSED = LogEvent(
    "webhook-refused", "WARNING", "a webhook was answered with",
    "its signature or form is wrong; the line says why. Stripe's signing secret, or somebody else's "
    "request",
)  # fmt: skip
WEBHOOK_UNWRITTEN = LogEvent(
    "webhook-unwritten", "ERROR", "a webhook could not be written down",
    "the database is away; Stripe sends the webhook again",
)  # fmt: skip
WEBHOOK_TAKEN = LogEvent(
    "webhook-taken", "INFO", "event ...:",
    "Stripe's event is written down, or came before",
)  # fmt: skip
STRIPE_KEY_UNWRITTEN = LogEvent(
    "stripe-key-unwritten", "WARNING", "... was not written down",
    "the database is away after a payment; the order is found again by its idempotency key",
)  # fmt: skip
