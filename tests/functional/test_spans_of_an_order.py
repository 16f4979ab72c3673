"""One order through the whole pipeline, as a receiver of OTLP sees it: span by span."""

from collections import Counter

import msgspec
import pytest

from ordermq.testing import wait_until
from tests.support.otlp import Receiver
from tests.support.shop import an_order


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path) as receiver:
        yield receiver


def named(spans, name):
    return [each for each in spans if each["name"] == name]


def one(spans, name):
    [found] = named(spans, name)
    return found


def place(pipeline, *order_ids, card="tok_0001"):
    orders = b"".join(msgspec.json.encode(an_order(each, card=card)) + b"\n" for each in order_ids)
    pipeline.ok("ordermq-publish", "orders", "-", stdin=orders)


STEPS = {
    "inventory": "ReserveStock", "payment": "CapturePayment", "notify": "SendNotification",
    "points": "AwardPoints", "shipping": "CreateShipment",
}  # fmt: skip


def test_one_order_is_one_graph(pipeline, receiver):
    pipeline.env |= receiver.environment() | {"ORDERMQ_OBSERVE_TRACE_CONTINUES": "false"}
    pipeline.stock(p_1=10)
    place(pipeline, "o-1")
    pipeline.begin()
    pipeline.end_well(1)
    spans = wait_until(lambda: receiver.spans if named(receiver.spans, "place order") else None, 10.0)
    by_id = {each["span_id"]: each for each in spans}
    traceparent = pipeline.value("SELECT traceparent FROM shop.orders WHERE order_id = 'o-1'")
    root = one(spans, "place order")
    assert traceparent == f"00-{root['trace_id']}-{root['span_id']}-01"
    assert (root["parent"], root["kind"]) == ("", "INTERNAL")
    for queue, type_ in STEPS.items():
        sent_to, taken_from = f"orders:{queue}", f"orders:{queue}:orders.{queue}"
        created = [each for each in named(spans, f"create {sent_to}")]
        assert created, queue
        for each in created:
            assert each["kind"] == "PRODUCER"
            assert each["trace_id"] == root["trace_id"]
            assert (
                by_id[each["parent"]]["name"] == "place order" or by_id[each["parent"]]["kind"] == "PRODUCER"
            )
            assert each["attributes"]["messaging.operation.type"] == "create"
            assert each["attributes"]["messaging.destination.name"] == sent_to
        of_step = [each for each in created if each["attributes"]["ordermq.message.type"] == type_]
        link = [of_step[0]["trace_id"], of_step[0]["span_id"]]
        for name, kind, type_of in (
            (f"send {sent_to}", "CLIENT", "send"),
            (f"process {taken_from}", "CONSUMER", "process"),
            (f"ack {taken_from}", "CLIENT", "settle"),
        ):
            linked = [each for each in named(spans, name) if link in each["links"]]
            assert linked, (name, [each["name"] for each in spans])
            for each in linked:
                assert each["kind"] == kind
                assert each["trace_id"] != root["trace_id"]
                assert each["attributes"]["messaging.operation.type"] == type_of
                assert each["attributes"]["messaging.system"] == "rabbitmq"
                assert each["status"] == "UNSET"
    [capture] = [
        each
        for each in spans
        if each["kind"] == "CLIENT" and "/payment/" in each["attributes"].get("url.full", "")
    ]
    assert capture["attributes"]["http.request.method"] == "POST"
    assert by_id[capture["parent"]]["name"].startswith("process orders:payment")
    batches = [each for each in spans if each["attributes"].get("db.system.name") == "postgresql"]
    assert any("INSERT ordermq.outbox" in each["name"] and "COMMIT" in each["name"] for each in batches)
    assert {by_id[each["parent"]]["kind"] for each in batches} == {"CONSUMER"}
    assert {each["scope"] for each in spans} == {"ordermq"}
    assert {each["schema"] for each in spans} == {"https://opentelemetry.io/schemas/1.44.0"}
    services = Counter(each["resource"]["service.name"] for each in spans)
    assert services.keys() == {"ordermq-publish", "ordermq-relay", "ordermq-consumer"}


def test_a_service_that_fails_once_is_an_error_with_its_exception_and_the_retry_has_a_link(
    pipeline, receiver
):
    pipeline.env |= receiver.environment() | {"ORDERMQ_OBSERVE_TRACE_CONTINUES": "true"}
    pipeline.stock(p_1=10)
    pipeline.begin()
    place(pipeline, "o-2", card="tok_0005")
    pipeline.end_well(1)
    spans = wait_until(lambda: receiver.spans if named(receiver.spans, "place order") else None, 10.0)
    root = one(spans, "place order")
    first, again = sorted(
        named(spans, "process orders:payment:orders.payment"), key=lambda span: span["began_ns"]
    )
    [created] = [
        each
        for each in named(spans, "create orders:payment")
        if each["attributes"]["ordermq.message.type"] == "CapturePayment"
    ]
    # Handled alone it continues the trace of its message; put off and taken up again it has a link.
    assert (first["trace_id"], first["parent"]) == (root["trace_id"], created["span_id"])
    assert (again["trace_id"] != root["trace_id"], again["parent"]) == (True, "")
    assert again["links"] == [[created["trace_id"], created["span_id"]]]
    assert (first["status"], again["status"]) == ("ERROR", "UNSET")
    error = first["attributes"]["error.type"]
    assert error == "ordermq.errors.GatewayUnavailable"
    failed, captured = sorted(
        (each for each in named(spans, "POST") if "/payment/" in each["attributes"]["url.full"]),
        key=lambda span: span["began_ns"],
    )
    assert failed["attributes"]["http.response.status_code"] == 503
    assert [failed["parent"], captured["parent"]] == [first["span_id"], again["span_id"]]
    [record] = [each for each in receiver.logs if each["span_id"] == first["span_id"]]
    assert record["attributes"]["exception.type"] == error
    # What the handlers that ran alone have sent belongs to their span.
    by_id = {each["span_id"]: each for each in spans}
    kinds = {by_id[each["parent"]]["kind"] for each in spans if each["kind"] == "PRODUCER"}
    assert "CONSUMER" in kinds
