"""Events as records of Kafka, read by the SDK of CloudEvents; what follows from a batch; what is refused."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat

from ordermq.config.settings import KafkaSettings, Secret
from ordermq.kafka.judging import SendResult, judge
from ordermq.kafka.records import MODES
from ordermq.message.cloudevents import CloudEvent
from ordermq.outward import OutwardEvent
from ordermq.store.feeds import FeedPlace

EVENT = CloudEvent(
    id="Ä 1:3",
    source="/orders/shop.order_events",
    type="payment_captured",
    subject="Ä 1",
    time=datetime(2026, 11, 1, 10, 42, tzinfo=UTC),
    data=b'{"order_id":"A-1001","amount":2598}',
    position=41,
    previous=39,
)
WITHOUT = """
import sys
sys.modules["confluent_kafka"] = None
from ordermq.cli.app import main
sys.argv = ["ordermq", "events", "forward", "--help"]
try:
    main()
except SystemExit as exc:
    assert exc.code == 0
import ordermq.kafka.producing
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk_of_cloudevents_reads_a_record_of_either_mode(mode):
    record = MODES[mode](EVENT)
    message = kafka.KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    found = kafka.from_kafka(message, JSONFormat())
    assert found.get_data() == json.loads(EVENT.data)
    attributes = found.get_attributes()
    assert (attributes["id"], attributes["type"], attributes["subject"]) == (
        EVENT.id,
        EVENT.type,
        EVENT.subject,
    )
    assert attributes["time"] == EVENT.time
    assert (attributes["sequence"], attributes["previoussequence"]) == (f"{41:020d}", f"{39:020d}")
    assert attributes["partitionkey"] == EVENT.subject == record.key.decode()
    assert dict(record.headers)["content-type"].startswith(b"application/")


BEGIN = FeedPlace(8, 7, 2)


def batch(*bad, gone=()):
    return [
        OutwardEvent(each, "t", f"s{each}", 1, reason="broken", is_gone=each in gone)
        if each in (*bad, *gone)
        else OutwardEvent(each, "t", f"s{each}", 1, EVENT)
        for each in (10, 12, 13, 17)
    ]


def positions(judgement):
    return [each.position for each in judgement.refused]


def test_the_progress_moves_up_to_the_first_that_was_not_acknowledged():
    """KFW1: places count only what was sent, positions have gaps."""
    done = judge(batch(), SendResult(), BEGIN, 20)
    assert (done.place.next_position, done.sent, positions(done)) == (20, 4, [])
    done = judge(batch(12), SendResult(failed={1: "late", 2: "late"}), BEGIN, 20)
    assert (done.place.next_position, done.sent, positions(done)) == (13, 1, [12])
    done = judge(batch(), SendResult(failed={0: "late"}), BEGIN, 20)
    assert (done.place.next_position, done.sent, positions(done)) == (10, 0, [])
    done = judge(batch(10), SendResult(refused={1: "too large"}, failed={2: "late"}), BEGIN, 20)
    assert (done.place.next_position, done.sent, positions(done)) == (17, 1, [10, 13])


def test_the_next_event_names_the_last_that_was_sent_or_refused_and_none_whose_row_is_gone():
    assert judge(batch(13, gone=(17,)), SendResult(), BEGIN, 20).place == FeedPlace(20, 13, 4)
    assert judge(batch(gone=(10, 12)), SendResult(failed={0: "late"}), BEGIN, 20).place == FeedPlace(13, 7, 4)


def test_what_a_broker_refuses_is_given_up_only_when_it_was_alone():
    fault = SendResult(failed={0: "too large", 1: "too large"}, record_faults={0, 1})
    assert judge(batch(12, 13), fault, BEGIN, 20).place.next_position == 10
    alone = judge(batch()[:1], SendResult(failed={0: "too large"}, record_faults={0}), BEGIN, 12)
    assert (alone.place.next_position, alone.sent, alone.refused[0].reason) == (12, 0, "too large")
    late = judge(batch()[:1], SendResult(failed={0: "no acknowledgement in time"}), BEGIN, 12)
    assert (late.place.next_position, positions(late)) == (10, [])


def test_without_confluent_kafka_the_error_names_the_extra_and_help_does_not_need_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert "ordermq events forward --to kafka" in done.stdout
    assert "pip install 'ordermq[kafka]'" in done.stderr


def test_what_the_client_library_is_told_of_tls_and_of_the_login():
    """Certificate and name are verified by default; the password is read when it is needed."""
    producing = pytest.importorskip("ordermq.kafka.producing", reason="confluent-kafka has no wheel here")
    settings = KafkaSettings(
        bootstrap_servers=("a:9093", "b:9093"), tls=True, ca_file="ca.pem", cert_file="c.pem",
        key_file="k.pem", username="anna", password=Secret("hunter2hunter2"),
    )  # fmt: skip
    told = producing.EventProducer(settings, "t", within_s=15)._configuration()
    assert told["bootstrap.servers"] == "a:9093,b:9093"
    assert told["security.protocol"] == "SASL_SSL"
    assert (told["sasl.mechanism"], told["sasl.username"]) == ("SCRAM-SHA-512", "anna")
    assert told["sasl.password"] == "hunter2hunter2"
    assert told["ssl.ca.location"] == "ca.pem"
    assert (told["ssl.certificate.location"], told["ssl.key.location"]) == ("c.pem", "k.pem")
    assert not {name for name in told if name.startswith("enable.ssl") or "identification" in name}
    assert (told["enable.idempotence"], told["acks"], told["message.timeout.ms"]) == (True, "all", 10_000)
    assert "hunter2" not in repr(settings)
    plain = producing.EventProducer(KafkaSettings(), "t", within_s=4)._configuration()
    assert plain["security.protocol"] == "PLAINTEXT"
    assert not {name for name in plain if name.startswith(("ssl", "sasl"))}
    assert plain["message.timeout.ms"] == 3000
