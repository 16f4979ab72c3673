"""What AMQP properties and headers of a message hold, as JSON Schema: of commands, and of events. Pure."""

from typing import Any

from ordermq.message import cloudevents, headers

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_INSTANT = {"type": "string", "format": "date-time"}

HEADERS = {
    "type": "object",
    "description": "None is required: what a sender leaves out is derived.",
    "properties": {
        headers.VERSION: {"type": "integer", "minimum": 1, "description": "Version of the type, 1 or more."},
        headers.OCCURRED_AT: _INSTANT | {"description": "When the message came into being."},
        headers.TRACEPARENT: _TEXT | {"description": "W3C Trace Context."},
        headers.ATTEMPT: _COUNT | {"description": "1, 2 ...: rises with each failure."},
        headers.HOP: _COUNT | {"description": "0, 1 ...: rises each time the message is sent again."},
        headers.REPLAYED: _COUNT | {"description": "0, 1 ...: rises each time an operator replays it."},
        headers.FIRST_FAILED_AT: _INSTANT | {"description": "When it was sent again for the first time."},
        headers.LAST_ERROR: _TEXT | {"description": "Why it was sent again."},
        headers.DUE_US: _COUNT | {"description": "Unix time in us at which it was due; for metrics."},
    },
}  # fmt: skip
CLOUD_EVENT: dict[str, Any] = {
    "name": "CloudEvent",
    "summary": "Something that happened, as a CloudEvent 1.0 in binary mode: its data are the body.",
    "contentType": cloudevents.DATA_TYPE,
    "headers": {
        "type": "object",
        "required": [f"{cloudevents.PREFIX}{name}" for name in ("specversion", "id", "source", "type")],
        "properties": {
            f"{cloudevents.PREFIX}{name}": schema
            for name, schema in {
                "specversion": {"const": cloudevents.SPECVERSION},
                "id": _TEXT | {"description": "Unique in its source; the same when it is sent again."},
                "source": _TEXT | {"format": "uri-reference"},
                "type": _TEXT,
                "subject": _TEXT | {"description": "What it is about."},
                "time": _INSTANT,
                "sequence": _TEXT | {"pattern": "^[0-9]{20}$", "description": "Its position in the history."},
                "previoussequence": _TEXT | {"description": "The position of the event before it."},
                "traceparent": _TEXT | {"description": "W3C Trace Context."},
            }.items()
        },
    },
    "payload": {"type": "object"},
}
PROPERTIES = {
    "type": "object",
    "description": "AMQP basic properties. Without message_id the id is derived from the body.",
    "properties": {
        "message_id": _TEXT
        | {
            "pattern": "^[!-~]{1,200}$",
            "description": "A message with an id that its queue has handled changes nothing.",
        },
        "type": _TEXT | {"description": "Name of the message."},
        "correlation_id": _TEXT | {"description": "What the message is about."},
        "content_type": {"const": headers.CONTENT_TYPE},
        "timestamp": {"type": "integer", "description": "Unix time in seconds."},
        "delivery_mode": {"const": 2},
    },
}
