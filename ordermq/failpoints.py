"""Places where a process under test can be made to crash, fail or hang, exactly there.

    ORDERMQ_FAILPOINT=relay.after_publish:exit
    ORDERMQ_FAILPOINT=external.after_call/RefundPayment:exit@3,runtime.before_ack:sleep=2

    NAME[/TYPE]:ACTION[@N][,...]     at the N-th pass, without N at the first, and once only;
                                     with TYPE only messages of that type count

    exit      end the process with 137, as SIGKILL would: no clean-up of any kind
    error     raise FailpointError
    sleep=S   stand still for S seconds
    hang      stand still for ever; the thread that passed, not the process

Without the variable a failpoint costs one look at an empty dict. A process reads the variable
once, at its start (``arm``), and logs the failpoints that are set.
"""

import logging
import os
import threading
from dataclasses import dataclass, field

from ordermq.errors import ConfigError, OrderMQError
from ordermq.log_events import FAILPOINT_REACHED, FAILPOINTS_SET

log = logging.getLogger(__name__)

EXIT_CODE = 137

#: Every failpoint, and what has happened and what has not when a process is lost there.
POINTS = {
    "bulk.after_commit": "a bulk command has committed a batch and has not reported it",
    "projection.after_commit": "a rebuild has committed a batch of repaired rows, others are not looked at",
    "place.before_commit": "an order is written, the application's transaction not committed",
    "relay.after_claim": "rows are claimed, none published",
    "publisher.mid_write": "some messages of a window are written, others not",
    "publisher.after_write": "messages are written, no confirm was read",
    "publisher.before_confirm": "the broker has confirmed, the publisher has not taken note",
    "relay.after_publish": "everything is confirmed, no row deleted",
    "relay.before_commit": "rows are deleted, the delete not committed",
    "relay.after_commit": "the delete is committed, nothing done since",
    "forward.after_read": "events are read for Kafka, none sent",
    "forward.mid_send": "events are handed to Kafka's client, no acknowledgement was read",
    "forward.after_send": "Kafka has acknowledged events, the progress has not moved",
    "forward.before_commit": "the progress is written, not committed",
    "forward.after_commit": "the progress is committed, nothing done since",
    "events.after_confirm": "events are confirmed, how far they are is not stored",
    "events.before_commit": "how far the events are is stored, not committed",
    "sending.after_confirm": "messages are confirmed, ordermq-publish has not reported it",
    "workers.before_transaction": "a message is delivered, its transaction not begun",
    "settle.after_handler": "a plain handler has written, its transaction goes on",
    "settle.before_commit": "a plain handler's transaction is complete, COMMIT not sent",
    "settle.after_commit": "a plain handler's transaction is committed, its thread has not reported it",
    "settle.before_retry_commit": "a retry is written, not committed",
    "settle.after_retry_commit": "a retry is committed, its delivery not acked",
    "settle.before_dead_commit": "a dead letter and what follows are written, not committed",
    "settle.after_dead_commit": "a dead letter is committed, its delivery not acked",
    "external.before_call": "lease and intent are committed, the call not made",
    "external.after_call": "the call was made, its result is only in this process",
    "external.before_complete": "the result of a call is written, not committed",
    "external.after_complete": "the result of a call is committed, its delivery not acked",
    "runtime.before_ack": "settled messages are reported, none acked",
    "runtime.after_ack": "acks are written, the broker may not have read them",
}


class FailpointError(OrderMQError):
    """What the action ``error`` raises."""


@dataclass
class _Armed:
    name: str
    type: str
    action: str
    seconds: float
    at_pass: int
    passes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_due(self, type_: str) -> bool:
        if self.type and self.type != type_:
            return False
        with self.lock:
            self.passes += 1
            return self.passes == self.at_pass

    def __str__(self) -> str:
        only = f"/{self.type}" if self.type else ""
        seconds = f"={self.seconds:g}" if self.action == "sleep" else ""
        return f"{self.name}{only}:{self.action}{seconds}@{self.at_pass}"


_armed: dict[str, list[_Armed]] = {}


def failpoint(name: str, type_: str = "") -> None:
    """Pass the failpoint ``name``; ``type_`` is the type of the message it is about, if it is about one."""
    if _armed:
        for each in _armed.get(name, ()):
            if each.is_due(type_):
                _fire(each)


def arm(spec: str) -> None:
    """Set the failpoints to those of ``spec``, "" for none. Raises ConfigError, with nothing changed."""
    found: dict[str, list[_Armed]] = {}
    for part in filter(None, (each.strip() for each in spec.split(","))):
        armed = _parse(part)
        found.setdefault(armed.name, []).append(armed)
    _armed.clear()
    _armed.update(found)


def warn() -> None:
    """Log a warning that names the failpoints that are set, if any. Call when logs can be written."""
    if _armed:
        what = ", ".join(str(each) for some in _armed.values() for each in some)
        log.warning(
            "FAILPOINTS ARE SET, this process will fail on purpose: ORDERMQ_FAILPOINT=%s",
            what,
            extra=FAILPOINTS_SET,
        )


def _parse(part: str) -> _Armed:
    where, _, what = part.partition(":")
    name, _, type_ = where.partition("/")
    action, has_pass, at_pass = what.partition("@")
    action, has_seconds, seconds = action.partition("=")
    if name not in POINTS:
        known = "\n".join(f"{each}: {meaning}" for each, meaning in POINTS.items())
        raise ConfigError(f"ORDERMQ_FAILPOINT names {name!r}, which is no failpoint. Known are\n{known}")
    if action not in {"exit", "error", "sleep", "hang"} or bool(has_seconds) != (action == "sleep"):
        raise ConfigError(
            f"ORDERMQ_FAILPOINT: {part!r}: the action must be exit, error, sleep=SECONDS or hang"
        )
    try:
        armed = _Armed(name, type_, action, float(seconds or 0), int(at_pass) if has_pass else 1)
    except ValueError as exc:
        raise ConfigError(f"ORDERMQ_FAILPOINT: {part!r}: {exc}") from exc
    if not 0 <= armed.seconds < threading.TIMEOUT_MAX or armed.at_pass < 1:
        raise ConfigError(f"ORDERMQ_FAILPOINT: {part!r}: the seconds or the pass is out of range")
    return armed


def _fire(armed: _Armed) -> None:
    log.critical("failpoint %s reached", armed, extra=FAILPOINT_REACHED)
    if armed.action == "exit":
        os._exit(EXIT_CODE)
    if armed.action == "error":
        raise FailpointError(f"failpoint {armed.name}")
    threading.Event().wait(armed.seconds if armed.action == "sleep" else None)
