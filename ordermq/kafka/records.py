"""An event as a record of Kafka, as the Kafka binding of CloudEvents says. Pure.

    mode         value                                     headers
    binary       the event's data                          content-type, and ce_NAME for each attribute
    structured   the whole event as one JSON document      content-type: application/cloudevents+json

In both the key is what the event is about, and the attribute ``partitionkey`` says the same: all events of
an order are in one partition, in their order.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from ordermq.message.cloudevents import DATA_TYPE, STRUCTURED_TYPE, CloudEvent, attributes

_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
_PARTITION_KEY = "partitionkey"  # the extension "partitioning"


class KafkaRecord(NamedTuple):
    """What is written into a topic."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def binary_record(event: CloudEvent) -> KafkaRecord:
    """Return the record of ``event`` in binary mode: a reader that knows no CloudEvents finds plain JSON."""
    found = {**attributes(event), _PARTITION_KEY: event.subject}
    headers = (
        (_CONTENT_TYPE, DATA_TYPE.encode()),
        *((f"{_PREFIX}{name}", value.encode()) for name, value in found.items()),
    )
    return KafkaRecord(event.subject.encode(), event.data, headers)


def structured_record(event: CloudEvent) -> KafkaRecord:
    """Return the record of ``event`` in structured mode: its value holds everything."""
    document = msgspec.json.encode(
        {
            **attributes(event),
            _PARTITION_KEY: event.subject,
            "datacontenttype": DATA_TYPE,
            "data": msgspec.Raw(event.data),
        }
    )
    content_type = f"{STRUCTURED_TYPE}; charset=UTF-8".encode()
    return KafkaRecord(event.subject.encode(), document, ((_CONTENT_TYPE, content_type),))


#: How a record holds an event, by the name in the settings.
MODES: Mapping[str, Callable[[CloudEvent], KafkaRecord]] = {
    "binary": binary_record,
    "structured": structured_record,
}
