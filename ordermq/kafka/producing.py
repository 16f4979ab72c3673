"""The one door to confluent-kafka: records are written, and each is known to be written or not.

Invariants
    KPR1  ``send`` returns when all its records are acknowledged by all replicas in sync, or one was not in
        time. Nothing of it is under way in this process after that.
    KPR2  Records of one partition are written in the order in which they were given: one that fails takes
        those behind it along, and the producer is replaced.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from ordermq.clock import Deadline
from ordermq.config.settings import KafkaSettings
from ordermq.errors import ConfigError, KafkaRefused, KafkaUnavailable
from ordermq.failpoints import failpoint
from ordermq.kafka.judging import SendResult
from ordermq.kafka.records import KafkaRecord

try:
    import confluent_kafka as ck
except ImportError as exc:
    raise ConfigError(
        "to forward events to Kafka needs the package confluent-kafka: pip install 'ordermq[kafka]'"
    ) from exc

_POLL_S = 0.1
_LOOK_S = 4.0  # longest wait for the list of topics
_ANSWER_S = 1.0

_RECORD_FAULTS = frozenset(
    {ck.KafkaError.MSG_SIZE_TOO_LARGE, ck.KafkaError.INVALID_RECORD, ck.KafkaError.INVALID_MSG}
)
_REFUSALS = frozenset(
    {
        ck.KafkaError._AUTHENTICATION, ck.KafkaError.SASL_AUTHENTICATION_FAILED, ck.KafkaError._SSL,
        ck.KafkaError.TOPIC_AUTHORIZATION_FAILED, ck.KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ck.KafkaError._UNKNOWN_TOPIC, ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
        ck.KafkaError.UNSUPPORTED_SASL_MECHANISM, ck.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)  # fmt: skip


class EventProducer:
    """Writes records into one topic. Owned by one thread.

    The password and the certificates are read anew at each connect. ``send`` takes at most ``within_s``, and
    less if kafka.delivery_timeout_s says so.
    """

    def __init__(self, settings: KafkaSettings, topic: str, *, within_s: float) -> None:
        self.topic = topic
        self._settings = settings
        self._timeout_s = min(settings.delivery_timeout_s, max(1.0, within_s - 1))
        self._producer: ck.Producer | None = None
        self._trouble: ck.KafkaError | None = None  # what librdkafka said last of its connections

    def send(self, records: Sequence[KafkaRecord], beat: Callable[[], None] = lambda: None) -> SendResult:
        """Write ``records`` in their order; wait for their acknowledgements. KPR1, KPR2.

        Raises KafkaUnavailable or KafkaRefused if nothing was written, because there is no connection.
        """
        producer, self._trouble = self.connect(), None
        result, waiting = SendResult(), set(range(len(records)))
        deadline = Deadline(self._timeout_s + 1)
        for place, record in enumerate(records):
            try:
                if not self._produce(producer, record, partial(_report, place, result, waiting), deadline):
                    break
            except ck.KafkaException as exc:
                waiting.discard(place)
                if exc.args[0].code() not in _RECORD_FAULTS:
                    result.failed[place] = exc.args[0].str()
                    break
                result.refused[place] = exc.args[0].str()
        if records:
            failpoint("forward.mid_send")
        while len(producer) > 0 and not deadline.has_passed:
            producer.poll(_POLL_S)
            beat()
        for place in waiting:
            result.failed[place] = self._trouble.str() if self._trouble else "no acknowledgement in time"
        waiting.clear()
        if result.failed:
            self.close()
        return result

    def close(self) -> None:
        """Forget what is under way, and the connections."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
            self._producer = None

    def _produce(
        self, producer: ck.Producer, record: KafkaRecord, report: Callable[..., None], deadline: Deadline
    ) -> bool:
        """Hand one record over; return False if there was no room for it in time. Raises KafkaException."""
        while True:
            try:
                producer.produce(
                    self.topic, record.value, record.key, headers=list(record.headers), on_delivery=report
                )
            except BufferError:
                if deadline.has_passed:
                    return False
                producer.poll(_POLL_S)
            else:
                producer.poll(0)
                return True

    def connect(self) -> ck.Producer:
        """Connect, unless that is done, and look whether the topic is there; block for 5 s at most.

        Raises KafkaUnavailable or KafkaRefused.
        """
        if self._producer is None:
            self._trouble = None
            producer = ck.Producer(self._configuration())
            topics = self._topics(producer)
            if self.topic not in topics:
                raise KafkaRefused(
                    f"{self._where} has no topic {self.topic!r}, or this user may not see it; create it, with"
                    " as many partitions as you mean to keep (docs/kafka.md)"
                )
            self._producer = producer
        return self._producer

    def _topics(self, producer: ck.Producer) -> Collection[str]:
        deadline = Deadline(_LOOK_S)
        while True:
            try:
                topics: Collection[str] = producer.list_topics(timeout=_ANSWER_S).topics
                return topics
            except ck.KafkaException as exc:
                producer.poll(0)  # hands over what was said of the connections
                error = self._trouble or exc.args[0]
                if error.code() in _REFUSALS:
                    raise KafkaRefused(f"{self._where}: {error.str()}") from exc
                if deadline.has_passed:
                    raise KafkaUnavailable(f"{self._where}: {error.str()}") from exc

    @property
    def _where(self) -> str:
        return f"Kafka at {', '.join(self._settings.bootstrap_servers)}"

    def _note(self, error: ck.KafkaError) -> None:
        if self._trouble is None or error.code() != ck.KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error

    def _configuration(self) -> dict[str, Any]:
        kafka = self._settings
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(kafka.bootstrap_servers),
            "client.id": "ordermq-forward",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,  # KPR2
            "acks": "all",
            "allow.auto.create.topics": False,
            "partitioner": "murmur2_random",  # that of Java's clients
            "compression.type": kafka.compression,
            "linger.ms": 5,
            "message.max.bytes": kafka.max_message_bytes,
            "message.timeout.ms": int(self._timeout_s * 1000),
            "queue.buffering.max.kbytes": 32 * 1024,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 2,  # what it would log is in the errors
            "error_cb": self._note,
            "security.protocol": _protocol(kafka),
        }
        files = {
            "ssl.ca.location": kafka.ca_file or ("probe" if kafka.tls else ""),
            "ssl.certificate.location": kafka.cert_file,
            "ssl.key.location": kafka.key_file,
        }
        found |= {name: value for name, value in files.items() if value}
        if kafka.username:
            found |= {
                "sasl.mechanism": kafka.sasl_mechanism,
                "sasl.username": kafka.username,
                "sasl.password": kafka.password.reveal(),
            }
        return found


def _protocol(kafka: KafkaSettings) -> str:
    return f"{'SASL_' if kafka.username else ''}{'SSL' if kafka.tls else 'PLAINTEXT'}"


def _report(
    place: int, result: SendResult, waiting: set[int], error: ck.KafkaError | None, message: object
) -> None:
    """Note what became of one record; librdkafka calls it from ``poll``."""
    if place not in waiting:
        return  # given up before: this is the end of a producer that is closed
    waiting.discard(place)
    if error is None:
        return
    result.failed[place] = error.str()
    if error.code() in _RECORD_FAULTS:
        result.record_faults.add(place)
    if error.code() in _REFUSALS:
        result.is_refused = True
