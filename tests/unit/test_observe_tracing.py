"""Spans where they are asked for, with the ids that messages have; nothing at all elsewhere."""

import json
import os
import subprocess
import sys

import pytest

from ordermq.config.environment import wants_spans
from ordermq.observe.otel import summary_of
from tests.support.otlp import Receiver


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}, False),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http, messaging"}, True),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "messaging", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "messaging", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_spans_are_sent_only_where_opentelemetry_s_own_variables_ask(environ, wanted):
    assert wants_spans(environ) is wanted


def run(program, *args, **env):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    argv = [sys.executable, "-c", program, *args]
    done = subprocess.run(argv, env=inherited | env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


OFF = """
import sys
import ordermq.cli.processes.consumer, ordermq.cli.processes.relay, ordermq.cli.publish
import ordermq.shop, ordermq.shop.gateways.http
from ordermq.observe import tracing
with tracing.sending_spans("ordermq-relay", exchange="orders", continues=False):
    assert tracing.tracer() is None
unwanted = ("opentelemetry", "google", "requests")
print(sorted(name for name in sys.modules if name.partition(".")[0] in unwanted))
"""


def test_where_they_are_not_asked_for_no_module_of_opentelemetry_is_imported():
    assert run(OFF)[0] == "[]\n"


ABSENT = """
import sys
sys.modules[sys.argv[1]] = None
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs, tracing
logs.configure(ObserveSettings(), "ordermq-relay")
with tracing.sending_spans("ordermq-relay", exchange="orders", continues=False):
    assert tracing.tracer() is None
"""


# Many libraries bring the API, without an exporter.
@pytest.mark.parametrize("absent", ["opentelemetry", "opentelemetry.exporter"])
def test_where_opentelemetry_is_not_installed_one_line_says_so_and_the_work_goes_on(absent):
    record = json.loads(run(ABSENT, absent, OTEL_SEMCONV_STABILITY_OPT_IN="messaging")[1])
    assert record["event.action"] == "spans-unavailable"
    assert "pip install 'ordermq[otel]'" in record["message"]


PROGRAM = """
import json, sys
from ordermq.observe import trace, tracing
from ordermq.observe.tracing import Traced

def message(number, traceparent, is_again=False):
    return Traced(traceparent, f"m-{number}", "o-1", "ReserveStock", "inventory", 20, is_again)

root = trace.new()
first, unsampled = trace.child(root), trace.new()[:-2] + "00"
with tracing.sending_spans("ordermq-consumer@inventory", exchange="orders", continues=True):
    tracer = tracing.tracer()
    decided = trace.new()
    tracer.placed("place order", root, "")
    tracer.created(message(1, first), root)
    tracer.created(message(2, unsampled), "")
    tracer.sent([message(1, first), message(2, unsampled)], {1: "returned"}, tracer.now_ns())
    with tracer.processing("inventory", [message(2, unsampled)]) as span:
        print("alone", span.traceparent)
    with tracer.processing("inventory", [message(1, first), message(2, unsampled)]) as batch:
        import opentelemetry.trace as api
        with api.get_tracer("mine").start_as_current_span("of a handler"):
            pass
        with tracer.requesting("POST", "https://pay.example/v1/charges") as request:
            request.answered(503)
        with tracer.querying(b"BEGIN\\n;\\nINSERT INTO shop.t (a) VALUES ('jane')\\n;\\nCOMMIT", 3):
            pass
    try:
        with tracer.processing("inventory", [message(1, first)]) as single:
            raise ValueError("cannot reach jane@mail.example, password=hunter2")
    except ValueError:
        pass
    with tracer.processing("inventory", [message(1, first, is_again=True)]) as again:
        again.failed("postponed")
    tracer.settled("inventory", [message(1, first)], tracer.now_ns())
print(json.dumps({"root": root, "first": first, "decided": decided, "batch": batch.traceparent,
                  "single": single.traceparent}))
"""


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path) as receiver:
        yield receiver


def test_spans_have_the_ids_of_their_messages_and_hold_nothing_personal(receiver):
    """OTL1, OTL2 and OTL3."""
    alone, line = run(PROGRAM, **receiver.environment())[0].splitlines()
    ids = {name: value.split("-")[1:3] for name, value in json.loads(line).items()}
    spans = {each["name"]: each for each in receiver.spans if each["kind"] != "CONSUMER"}
    batch, single, again = [each for each in receiver.spans if each["kind"] == "CONSUMER"]
    assert [spans["place order"]["trace_id"], spans["place order"]["span_id"]] == ids["root"]
    created = spans["create orders:inventory"]
    assert [created["trace_id"], created["span_id"]] == ids["first"]
    assert created["parent"] == ids["root"][1]
    sent = spans["send orders:inventory"]
    assert (len(sent["links"]), sent["status"], sent["attributes"]["error.type"]) == (2, "ERROR", "returned")
    assert sent["attributes"]["messaging.batch.message_count"] == 2
    assert alone.endswith("-00")  # its trace is not sampled, and so is what follows
    assert (batch["parent"], len(batch["links"])) == ("", 2)
    assert batch["trace_id"] not in (ids["first"][0], ids["root"][0])
    assert batch["name"] == "process orders:inventory:orders.inventory"
    assert (single["trace_id"], single["parent"]) == tuple(ids["first"])
    # What was put off or is tried again does not make the first trace last for hours.
    assert (again["parent"], again["links"]) == ("", [ids["first"]])
    assert again["trace_id"] != ids["first"][0]
    assert (again["status"], again["attributes"]["error.type"]) == ("ERROR", "postponed")
    assert spans["of a handler"]["parent"] == batch["span_id"]
    request = spans["POST"]
    assert (request["parent"], request["attributes"]["error.type"]) == (batch["span_id"], "503")
    assert request["attributes"]["server.port"] == 443
    assert spans["BATCH BEGIN; INSERT shop.t; COMMIT"]["parent"] == batch["span_id"]
    assert (
        spans["ack orders:inventory:orders.inventory"]["attributes"]["messaging.operation.type"] == "settle"
    )
    [record] = receiver.logs
    assert [record["trace_id"], record["span_id"]] == [single["trace_id"], single["span_id"]]
    assert record["attributes"]["exception.type"] == "ValueError"
    assert "cannot reach <e-mail>, password=***" in record["attributes"]["exception.stacktrace"]
    said = json.dumps([receiver.spans, receiver.logs])
    assert not [each for each in ("jane", "hunter2") if each in said]


def test_where_no_trace_is_sampled_a_new_message_says_so_and_nothing_is_sent(receiver):
    said = run(PROGRAM, **receiver.environment(), OTEL_TRACES_SAMPLER="parentbased_always_off")[0]
    assert json.loads(said.splitlines()[-1])["decided"].endswith("-00")
    assert "place order" in {each["name"] for each in receiver.spans}  # its root was made before


STUCK = """
import threading
from ordermq.observe import tracing
with tracing.sending_spans("ordermq-relay", exchange="orders", continues=False, flush_s=0.1):
    tracing.tracer()._provider.shutdown = threading.Event().wait
print("ended")
"""


def test_a_process_ends_though_its_spans_cannot_be_sent():
    """OTL4."""
    assert run(STUCK, OTEL_SEMCONV_STABILITY_OPT_IN="messaging")[0] == "ended\n"


def test_a_receiver_that_is_away_costs_spans_and_no_work():
    env = {"OTEL_SEMCONV_STABILITY_OPT_IN": "messaging", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert run(PROGRAM, **env, OTEL_EXPORTER_OTLP_TIMEOUT="1")[0]


@pytest.mark.parametrize(
    ("statement", "summary"),
    [
        (b"UPDATE shop.orders SET status = 'paid' WHERE order_id = 'o'", "UPDATE shop.orders"),
        (b"SELECT shop.intend('gift from Alice', E'it\\'s from Bob')", "SELECT shop.intend"),
        (b"SELECT shop.intend('a\n;\nselect Alice FROM Bob')", "SELECT shop.intend"),
        (b"SELECT extract(epoch FROM now())", "SELECT"),
        (b"SELECT 'O''Hara from Alice', 1 FROM shop.stock\n;\nCOMMIT", "BATCH SELECT shop.stock; COMMIT"),
    ],
)
def test_the_name_of_a_statement_holds_no_value(statement, summary):
    """OTL3: values are written into a statement before it is sent."""
    assert summary_of(statement) == summary
