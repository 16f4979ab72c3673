"""``ordermq asyncapi``: the document is valid by AsyncAPI's schema, and says what is declared and handled."""

import gzip
import json
import runpy
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from ordermq import shop
from ordermq.cli.app import app
from ordermq.cli.asyncapi.document import describe
from ordermq.cli.asyncapi.yaml_text import to_yaml
from ordermq.cli.program import registry_of
from ordermq.clock import utc_now
from ordermq.config.settings import BrokerSettings, Settings, TopologySettings
from ordermq.errors import UsageError
from ordermq.message.cloudevents import CloudEvent, event_properties
from ordermq.topology import EventStream, build

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "tests" / "samples" / "asyncapi" / "asyncapi-3.0.0.schema.json.gz"


@pytest.fixture(scope="module")
def check():
    """Validate by the official schema, with the bindings' in it."""
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    return jsonschema.Draft7Validator(schema).validate


def described(*queues, **broker):
    registry = registry_of([shop.module])
    settings = Settings(broker=BrokerSettings(**broker), topology=TopologySettings(queues=queues))
    return describe(build("orders", (*registry.queues, *queues)), registry, settings)


def run(*argv, modules=""):
    return CliRunner().invoke(
        app, ["asyncapi", *argv], env={"ORDERMQ_MODULES": modules, "ORDERMQ_CONFIG": ""}
    )


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_page_of_the_shop_is_up_to_date_and_valid(check):
    generator = runpy.run_path(str(ROOT / "docs" / "generate_asyncapi.py"))
    text = (ROOT / "docs" / "asyncapi.yaml").read_text()
    assert text == generator["document"](), "make docs writes it anew"
    check(yaml.safe_load(text))


def test_the_schema_refuses_what_the_binding_of_amqp_forbids(check):
    document = described()
    document["channels"]["email"]["bindings"]["amqp"]["queue"] = {"name": "orders.email"}
    with pytest.raises(jsonschema.ValidationError):
        check(document)


def test_each_queue_exchange_and_message_of_the_program_is_in_it(check):
    document = described("billing", tls=True, hosts=("a:5671", "b:5671"), vhost="shop")
    check(document)
    assert [each["host"] for each in document["servers"].values()] == ["a:5671", "b:5671"]
    assert {each["protocol"] for each in document["servers"].values()} == {"amqps"}
    amqp = [each["bindings"]["amqp"] for each in document["channels"].values()]
    queues = {each["queue"]["name"] for each in amqp if each["is"] == "queue"}
    topology = build("orders", (*registry_of([shop.module]).queues, "billing"))
    assert queues == {each.name for each in topology.queues}
    messages = document["components"]["messages"]
    handled = {each["bindings"]["amqp"]["messageType"] for each in messages.values() if "bindings" in each}
    registry = registry_of([shop.module])
    assert handled == {each.type for queue in registry.queues for each in registry.of_queue(queue)}
    assert messages["CapturePayment"]["correlationId"] == {"location": "$message.payload#/order_id"}
    for reference in references(document):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


def test_the_exchange_and_the_stream_of_events_are_in_it(check):
    registry = registry_of([shop.module])
    document = describe(build("orders", registry.queues, events=EventStream()), registry, Settings())
    check(document)
    sent, log = document["channels"]["events"], document["channels"]["events.log.queue"]
    assert sent["bindings"]["amqp"]["exchange"]["type"] == "topic"
    assert log["x-arguments"]["x-queue-type"] == "stream"
    assert list(sent["messages"]) == list(log["messages"]) == ["CloudEvent"]
    event = CloudEvent(
        id="a", source="b", type="c", subject="d", time=utc_now(), data=b"{}", position=1, previous=0
    )
    headers = document["components"]["messages"]["CloudEvent"]["headers"]
    jsonschema.validate(event_properties(event).headers, headers)
    assert event_properties(event).headers.keys() <= headers["properties"].keys()


def test_a_project_of_its_own_is_described_without_the_shop(check, tmp_path):
    output = tmp_path / "gifts.json"
    done = run("--output", str(output), modules="tests.support.projects.gifts")
    assert done.exit_code == 0, done.output
    document = json.loads(output.read_text())
    check(document)
    assert "gifts.queue" in document["channels"]
    assert "inventory" not in document["channels"]
    assert json.loads(run("--json", modules="tests.support.projects.gifts").stdout) == document
    assert yaml.safe_load(run(modules="tests.support.projects.gifts").stdout) == document
    refused = run("--output", str(tmp_path / "no" / "file.yaml"), modules="tests.support.projects.gifts")
    assert isinstance(refused.exception, UsageError)
    assert "No such file" in str(refused.exception)


@pytest.mark.parametrize(
    "text",
    ["", "no", "Yes", "1.0", "0x1", "a: b", "a #b", "- a", "'a'", '"', "*a", "&a", "!a", "{a}", "a\nb", " a",
     "é", "~", "null", "2026-01-01", "1e3", "a,b", "%a", "@a", "`a`", "a -b", "a: ", "=", "<<", "x" * 200,
     "a ", "a, b"],
)  # fmt: skip
def test_every_text_comes_back_from_yaml_as_it_was(text):
    value = {
        "a": text,
        "b": [text, {"c": text, "d": [text]}],
        text or "e": {},
        "f": [],
        "g": [[1, text], [2.5]],
    }
    assert yaml.safe_load(to_yaml(value)) == value
