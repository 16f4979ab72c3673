"""Publishing a file of raw messages: each line a JSON body, or the whole file one body."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ordermq.amqp import PublishOutcome, PublishOutcomes
from ordermq.cli.bulk import Pace, batches, taking
from ordermq.cli.progress import Progress
from ordermq.cli.records import ByteStream, Line, Reject, read_lines, reject
from ordermq.cli.rejects import RejectsFile
from ordermq.clock import utc_now
from ordermq.config.settings import Settings
from ordermq.errors import BadInput, ConnectionLost, MessageError
from ordermq.failpoints import failpoint
from ordermq.message import MAX_BODY_BYTES, Properties, Publishing
from ordermq.message.headers import CONTENT_TYPE, MAX_ID_CHARS, derived_message_id
from ordermq.message.payload import check_strict
from ordermq.message.signing import Signer, signer_of

BATCH = 1000

PublishMany = Callable[[list[Publishing]], PublishOutcomes]


@dataclass(frozen=True)
class FromLine:
    """A publishing and the line of the file that it was made from."""

    line: int
    publishing: Publishing


@dataclass(frozen=True)
class Address:
    """Where messages go, their type, and the field that holds their id; see ``ordermq-publish messages``."""

    exchange: str
    routing_key: str
    type: str | None = None
    message_id_field: str | None = None
    signer: Signer | None = None

    @classmethod
    def of(cls, settings: Settings, routing_key: str, type_: str | None, field: str | None) -> "Address":
        """Return the address on the exchange of ``settings``, with its signer. Raises ConfigError."""
        prefix, signer = settings.topology.prefix, signer_of(settings.message)
        return cls(prefix, routing_key, type_, field, signer)

    def publishing(self, line: int, body: bytes, message_id: str | None = None) -> FromLine:
        """Return the publishing of ``body``; without ``message_id`` its id is derived from its bytes."""
        properties = Properties(
            message_id=message_id or derived_message_id(body),
            type=self.type,
            content_type=CONTENT_TYPE,
            timestamp_s=int(utc_now().timestamp()),
        )
        publishing = Publishing(self.exchange, self.routing_key, properties, body)
        return FromLine(line, self.signer.sign(publishing) if self.signer is not None else publishing)


def read_publishings(stream: ByteStream, address: Address) -> Iterator[FromLine | Reject]:
    """Yield a publishing of each line, or a reject if the line is not strict JSON."""
    for line in read_lines(stream):
        if isinstance(line, Reject):
            yield line
            continue
        body = line.text.strip().encode()
        try:
            message_id = _message_id(check_strict(body), address.message_id_field)
            yield address.publishing(line.number, body, message_id)
        except (MessageError, BadInput) as exc:
            yield reject(line, exc)


def read_whole(stream: ByteStream, address: Address) -> Iterator[FromLine]:
    """Yield the file as one message, byte for byte, or nothing if it is empty.

    Raises BadInput over the size limit.
    """
    body = b""
    while len(body) <= MAX_BODY_BYTES and (more := stream.read1(MAX_BODY_BYTES)):
        body += more
    if len(body) > MAX_BODY_BYTES:
        raise BadInput(f"the file is over the {MAX_BODY_BYTES} bytes a message may have")
    if body:
        yield address.publishing(1, body)


class Sender:
    """Publishes batch by batch. ``outcomes`` counts what became of the messages, correct after each batch."""

    def __init__(self, publish_many: PublishMany | None, *, rejects: RejectsFile, pace: Pace) -> None:
        """Without ``publish_many`` nothing is sent, and every message counts as confirmed."""
        self.read = 0
        self.rejected = 0
        self.line = 0
        self.outcomes: Counter[PublishOutcome] = Counter()
        self._publish_many = publish_many
        self._rejects = rejects
        self._pace = pace

    def send(self, found: Iterable[FromLine | Reject], progress: Progress) -> None:
        """Publish all messages. Raises ConnectionLost, with the rest unread, if one was not sent at all."""
        for batch in batches(taking(found), most=BATCH, pace=self._pace):
            messages = [each for each in batch if isinstance(each, FromLine)]
            for each in batch:
                if isinstance(each, Reject):
                    self._rejects.add(each)
            self.read += len(batch)
            self.rejected += len(batch) - len(messages)
            self._publish(messages)
            self.line = batch[-1].line
            progress(self.read)

    def _publish(self, messages: list[FromLine]) -> None:
        if self._publish_many is None:
            self.outcomes[PublishOutcome.CONFIRMED] += len(messages)
            return
        outcomes = self._publish_many([each.publishing for each in messages])
        failpoint("sending.after_confirm")
        self.outcomes.update(outcomes)
        for index, (message, outcome) in enumerate(zip(messages, outcomes, strict=True)):
            if outcome is not PublishOutcome.CONFIRMED:
                self._rejects.add(_unconfirmed(message, outcome, outcomes.reasons.get(index, "")))
        if PublishOutcome.UNSENT in outcomes:
            reason = next(iter(outcomes.reasons.values()), "no connection")
            raise ConnectionLost(f"publishing stopped: {reason}")


def _unconfirmed(message: FromLine, outcome: PublishOutcome, reason: str) -> Reject:
    text = message.publishing.body[:2000].decode("utf-8", "replace")
    return reject(Line(message.line, text), f"{outcome.value}: {reason}")


def _message_id(value: object, field: str | None) -> str | None:
    if field is None:
        return None
    message_id = value.get(field) if isinstance(value, dict) else None
    if isinstance(message_id, int) and not isinstance(message_id, bool):
        message_id = json.dumps(message_id)
    if not isinstance(message_id, str) or not 1 <= len(message_id) <= MAX_ID_CHARS:
        raise BadInput(f"no message_id: field {field!r} is not a text of 1 to {MAX_ID_CHARS} characters")
    return message_id
