"""What is shipped to Elasticsearch fits the index template, and the files of the shippers agree with it."""

import http.client
import json
import re
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.elasticsearch import Elasticsearch, mapping_of

CONFIG = Path(__file__).parents[2] / "config"
TEMPLATE = json.loads((CONFIG / "elasticsearch/ordermq-logs.json").read_text())
STREAM = "logs-ordermq-default"

LINES = """
import logging
import ordermq.log_events as events
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs
settings = ObserveSettings(log_level="DEBUG")
logs.configure(settings, "ordermq-consumer@inventory:2", correlation_name="order_id")
log = logging.getLogger("ordermq.test")
ids = {"message_id": "m-1", "correlation_id": "o-1", "trace_id": "4b" * 16, "span_id": "01" * 8}
with logs.bind(queue="inventory", **ids):
    log.info("handled %s", "ReserveStock", extra=events.MESSAGE_HANDLED.having(duration_s=0.0123, unsaid=7))
    try:
        raise ValueError("x" * 100_000) from KeyError("y")
    except ValueError as exc:
        log.warning("attempt %d failed", 2, exc_info=exc, extra=events.MESSAGE_RETRIED)
kinds = {"a.b": 1.5, "none": None, "yes": True, "list": [1, 2], "long": "z" * 9000, "big": 2**70}
log.debug("all kinds", extra=kinds)
logging.getLogger("urllib3").error("not ours")
"""


@pytest.fixture(scope="module")
def lines():
    done = subprocess.run(
        [sys.executable, "-c", LINES], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr.splitlines()


def request(url, body, method, content_type):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request(method, parts.path, body, {"Content-Type": content_type})
    with closing(connection):
        return json.load(connection.getresponse())


def bulk(server, lines):
    create = json.dumps({"create": {"_index": STREAM}})
    body = "".join(f"{create}\n{line}\n" for line in lines).encode()
    return request(f"{server.url}/_bulk", body, "POST", "application/x-ndjson")


def test_each_field_of_the_lines_is_mapped_and_taken(lines):
    with Elasticsearch() as server:
        template = (CONFIG / "elasticsearch/ordermq-logs.json").read_bytes()
        url = f"{server.url}/_index_template/ordermq-logs"
        assert request(url, template, "PUT", "application/json") == {"acknowledged": True}
        answer = bulk(server, lines)
        assert not answer["errors"], answer["items"]
        assert [each["event.action"] for each in server.documents if "event.action" in each] == [
            "message-handled", "message-retried",
        ]  # fmt: skip
        assert (server.unmapped, server.ignored) == (set(), set())
        broken = json.dumps(json.loads(lines[0]) | {"event.duration": "fast"})
        [item] = bulk(server, [broken])["items"]
        assert item["create"]["status"] == 400


def test_a_line_has_each_field_that_the_template_maps_for_ordermq(lines):
    def leaves(properties, prefix=""):
        for name, node in properties.items():
            if "properties" in node:
                yield from leaves(node["properties"], f"{prefix}{name}.")
            else:
                yield prefix + name

    written = {name for line in lines for name in json.loads(line)}
    of_shippers = {"host.name", "data_stream.type", "data_stream.dataset", "data_stream.namespace"}
    mapped = set(leaves(TEMPLATE["template"]["mappings"]["properties"]))
    assert mapped - written - of_shippers - {"labels"} == set()


def test_the_shippers_write_to_the_stream_of_the_template_and_hold_no_secret():
    filebeat = yaml.safe_load((CONFIG / "filebeat.yml").read_text())
    assert filebeat["output.elasticsearch"]["index"] == STREAM
    vector = tomllib.loads((CONFIG / "vector.toml").read_text())
    stream = vector["sinks"]["elasticsearch"]["data_stream"]
    assert f"{stream['type']}-{stream['dataset']}-{stream['namespace']}" == STREAM
    stages = vector["sources"].keys() | vector["transforms"].keys()
    parts = [*vector["transforms"].values(), *vector["sinks"].values()]
    assert {name for part in parts for name in part["inputs"]} <= stages
    logstash = (CONFIG / "logstash.conf").read_text()
    found = dict(re.findall(r'data_stream_(\w+) => "(\w+)"', logstash))
    assert f"{found['type']}-{found['dataset']}-{found['namespace']}" == STREAM
    assert logstash.count("{") == logstash.count("}")
    for name in ("filebeat.yml", "vector.toml", "logstash.conf"):
        for value in re.findall(r'(?:api_key|password)\s*[:=]>?\s*"([^"]+)"', (CONFIG / name).read_text()):
            assert value.startswith("${ELASTICSEARCH_")


def test_kibana_s_objects_refer_to_each_other_and_to_fields_and_events_that_exist():
    objects = [json.loads(line) for line in (CONFIG / "kibana/ordermq.ndjson").read_text().splitlines()]
    known = {(each["type"], each["id"]) for each in objects}
    events = (CONFIG.parent / "docs/log-events.md").read_text()
    for each in objects:
        assert {(ref["type"], ref["id"]) for ref in each["references"]} <= known
        names = list(each["attributes"].get("columns", ()))
        if each["type"] == "search":
            source = json.loads(each["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            query = source["query"]["query"]
            names += re.findall(r"([\w.]+):", query)
            if query.startswith("event.action"):
                assert [name for name in re.findall(r'"([\w-]+)"', query) if f"`{name}`" not in events] == []
        missing = [name for name in names if mapping_of(name, TEMPLATE["template"]["mappings"]) is None]
        assert missing == []
