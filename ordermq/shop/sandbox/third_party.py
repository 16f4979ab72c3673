"""What the third parties have in common: a journal, faults on purpose and the requests that set them."""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ordermq.shop.sandbox.behaviour import Behaviour, Fault
from ordermq.shop.sandbox.journal import RecordJournal
from ordermq.shop.sandbox.service import NoAnswer, Refused, Reply, Request

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
BEHAVIOUR = msgspec.json.Decoder(Behaviour)


class Suffered(msgspec.Struct, frozen=True, tag="fault", tag_field="kind"):
    """A request of this key met a fault."""

    key: str


class ThirdParty(ABC):
    """A service whose state changes under one lock: decided, written to the journal, then applied."""

    def __init__(self, journal: Path, records: Any) -> None:
        """``records`` is the union of the journal's classes. A subclass ends its own with ``_replay()``."""
        self._lock = threading.Lock()
        self._journal: RecordJournal[Any] = RecordJournal(journal, records)
        self._behaviour = Behaviour()
        self._faults: Counter[str] = Counter()

    @abstractmethod
    def handle(self, request: Request) -> Reply | NoAnswer:
        """Answer one request. Called from many threads at once; raises Refused."""

    @property
    def latency_s(self) -> float:
        """How long every POST is delayed."""
        return self._behaviour.latency_ms / 1000

    @abstractmethod
    def _apply(self, record: Any) -> None:
        """Change the state as ``record`` says, under the lock or before the first request."""

    def _replay(self) -> None:
        for record in self._journal.replay():
            self._take(record)

    def _write(self, record: Any) -> None:
        self._journal.append(record)
        self._take(record)

    def _take(self, record: Any) -> None:
        match record:
            case Suffered():
                self._faults[record.key] += 1
            case Behaviour():
                self._behaviour = record
            case _:
                self._apply(record)

    def _behave(self, method: str, body: bytes) -> Reply:
        if method == "POST":
            behaviour = decode(BEHAVIOUR, body)
            with self._lock:
                self._write(behaviour)
        return Reply(200, msgspec.json.encode(self._behaviour))

    def _next_fault(self, name: str, key: str) -> Fault:
        fault = self._behaviour.fault(name, key, self._faults[key])
        if fault is not Fault.NONE:
            self._write(Suffered(key))
        return fault


def decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """Read a body, or refuse it with the reason."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as exc:
        raise Refused(400, str(exc)) from exc
