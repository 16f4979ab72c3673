"""CloudEvents: what the SDK of CloudEvents and its JSON schema make of ordermq's, and what must be refused.

The schema is cloudevents/formats/cloudevents.json of https://github.com/cloudevents/spec at c2845a4
(July 2026).
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import msgspec
import pytest
from cloudevents.core.bindings import amqp
from cloudevents.core.bindings.amqp import AMQPMessage
from cloudevents.core.formats.json import JSONFormat

from ordermq.errors import MalformedMessage
from ordermq.message.cloudevents import (
    RecordEvent,
    event_id,
    event_of,
    event_properties,
    read_event,
    read_structured,
    routing_key,
    structured,
)
from ordermq.observe.trace import parse
from ordermq.shop.events import Event, EventType, Step, outward, stored

SCHEMA = json.loads((Path(__file__).parents[1] / "samples" / "cloudevents" / "cloudevents.json").read_text())
AT = datetime(2026, 11, 1, 10, 42, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def an_event(trace_id="", order_trace="", **changes):
    row = stored(
        "A-1001",
        3,
        Event(EventType.PAYMENT_CAPTURED, Step.CAPTURE),
        status="paid",
        occurred_at=AT,
        data={"amount": 2598},
        actor="payment",
        trace_id=trace_id,
    )
    content = f"{row.type}\n2026-11-01T10:42:00.000000Z\n{order_trace}\n".encode() + row.body
    event = event_of(
        outward(content),
        source="/orders/shop.order_events",
        subject=row.order_id,
        number=row.version,
        position=41,
        previous=39,
    )
    return msgspec.structs.replace(event, **changes)


EVENTS = (an_event(), an_event(traceparent=TRACE), an_event(previous=None), an_event(subject="Ä 1"))


def test_an_event_comes_back_from_headers_and_from_json_as_it_was():
    for event in EVENTS:
        assert read_event(event_properties(event), event.data) == event
        assert read_structured(structured(event)) == event


def test_the_sdk_of_cloudevents_reads_the_headers_as_its_binding_for_amqp_says():
    event = an_event(traceparent=TRACE)
    properties = event_properties(event)
    read = amqp.from_binary_event(
        AMQPMessage({"content-type": properties.content_type}, dict(properties.headers), event.data)
    )
    assert (read.get_id(), read.get_source(), read.get_type()) == (event.id, event.source, event.type)
    assert (read.get_subject(), read.get_time(), read.get_datacontenttype()) == (
        "A-1001",
        AT,
        "application/json",
    )
    assert (read.get_extension("sequence"), read.get_extension("previoussequence")) == (
        "00000000000000000041",
        "00000000000000000039",
    )
    assert read.get_extension("traceparent") == TRACE
    assert read.get_data()["data"] == {"amount": 2598}


def test_the_json_is_what_the_schema_and_the_sdk_expect():
    for event in EVENTS:
        document = structured(event)
        jsonschema.validate(json.loads(document), SCHEMA)
        read = JSONFormat().read(None, document)
        assert (read.get_id(), read.get_data()) == (event.id, json.loads(event.data))


def test_ordermq_reads_what_the_sdk_writes_in_either_mode():
    event = an_event(traceparent=TRACE)
    theirs = JSONFormat().read(None, structured(event))
    again = amqp.to_structured_event(theirs)
    properties = event_properties(event)
    assert msgspec.structs.replace(read_structured(again.application_data), data=event.data) == event
    colon = {
        name.replace("cloudEvents_", "cloudEvents:"): value for name, value in properties.headers.items()
    }
    assert read_event(msgspec.structs.replace(properties, headers=colon), event.data) == event


def test_an_event_has_the_same_id_whenever_it_is_sent_and_whatever_its_position():
    assert an_event().id == an_event(position=7).id == "A-1001:3"
    assert event_id("x" * 300, 1) == event_id("x" * 300, 1) != event_id("x" * 300, 2)
    assert len(event_id("x" * 300, 1)) <= 240


def test_a_subject_that_no_amqp_property_holds_is_only_in_its_header():
    properties = event_properties(an_event(subject="x" * 300))
    assert properties.correlation_id is None
    assert properties.headers["cloudEvents_subject"] == "x" * 300


def test_a_queue_can_be_bound_to_all_events_of_one_kind():
    assert routing_key("payment_captured") == "payment.captured"
    assert routing_key("payment_action_required") == "payment.action_required"
    assert routing_key("wrapped") == "wrapped"


def test_the_time_is_the_same_instant_in_any_time_zone():
    there = AT.astimezone(timezone(timedelta(hours=9)))
    assert structured(an_event(time=there)) == structured(an_event())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("specversion", "0.3", "specversion"),
        ("id", None, "no attribute id"),
        ("source", 7, "no attribute source"),
        ("type", "", "no attribute type"),
        ("subject", None, "no attribute subject"),
        ("time", "yesterday", "no RFC 3339 instant"),
        ("time", "2026-11-01T10:42:00", "without a time zone"),
        ("sequence", "-1", "sequence that is no position"),
        ("sequence", "9" * 21, "sequence that is no position"),
        ("sequence", "٣", "sequence that is no position"),
        ("previoussequence", "x", "previoussequence that is no position"),
    ],
)
def test_a_message_with_an_attribute_that_is_missing_or_wrong_is_malformed(name, value, words):
    properties = event_properties(an_event())
    headers = {**properties.headers, f"cloudEvents_{name}": value}
    with pytest.raises(MalformedMessage, match=words):
        read_event(msgspec.structs.replace(properties, headers=headers), b"{}")


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"data": {}}', b'{"data": {}, "specversion": 1}'])
def test_json_that_is_no_event_is_malformed(document):
    properties = msgspec.structs.replace(
        event_properties(an_event()), content_type="application/cloudevents+json; charset=utf-8"
    )
    with pytest.raises(MalformedMessage):
        read_event(properties, document)


def test_the_trace_of_an_event_is_that_under_which_it_was_made():
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    found = an_event(trace_id=trace_id).traceparent
    assert parse(found).trace_id == trace_id
    assert found == an_event(trace_id=trace_id).traceparent
    assert an_event().traceparent is None
    # An event under the trace of its order is stored without it, and is the same for who reads it.
    assert an_event(None, f"00-{trace_id}-b7ad6b7169203331-01") == an_event(trace_id)
    assert an_event(None, "no trace") == an_event("")


def test_a_record_event_needs_no_trace():
    assert RecordEvent("wrapped", AT, b"{}").traceparent is None
