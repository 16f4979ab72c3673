"""Logs: one line a record on stderr, JSON for machines or text for a person.

JSON has the names of the Elastic Common Schema, with dots in flat keys, as its loggers write them.
Every record carries @timestamp (RFC 3339, UTC, milliseconds), log.level, message, ecs.version,
log.logger, service.name, service.node.name, service.version and process.pid; a record of ordermq
also event.action (``ordermq.log_events``). The fields that ``bind`` put around the call follow:
trace.id, span.id, and as labels correlation_id, message_id, queue; then those of ``extra=``, as
labels too. An exception is error.type, error.message and error.stack_trace.

https://www.elastic.co/docs/reference/ecs/ecs-field-reference

Invariants
    LOG1  A log call never raises, whatever its arguments are and even if stderr is closed, and it never
        waits for a reader that stands still. What is dropped is counted, and said when it flows again.
    LOG2  A record is written whole, so processes that share a stderr do not mix their lines.
    LOG3  Text that a publisher sent is written escaped; a known credential is never written, nor what
        looks like an e-mail address, a phone number or the number of a payment card.
    LOG4  A record has less bytes than a line of journald, which cuts longer ones.
    LOG5  To the journal a record is one line, also as text, and begins with its priority, as in <4>.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType, TracebackType

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from ordermq import __version__
from ordermq.config.environment import journal_stream
from ordermq.config.settings import ObserveSettings
from ordermq.log_events import ACTION, DURATION_S, LINE_UNWRITABLE, LINES_DROPPED, PROCESS_BUG
from ordermq.observe import metrics
from ordermq.observe.lines import LineWriter
from ordermq.observe.text import (
    LONGEST_EXCEPTION,
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    block,
    field,
    line,
    printed,
)

STDERR = 2
LONGEST_LINE = 47 * 1024  # bytes: journald cuts at 48 KiB
PARTS = (1, 2, 4, 8, 16, 64)  # A character may become twelve bytes, so a line too long is cut to a part.
CORRELATION_ID = "correlation_id"
ECS_VERSION = "8.17.0"

_ECS_NAMES = {
    "trace_id": "trace.id",
    "span_id": "span.id",
    ACTION: ACTION,
}
_NOT_IN_TEXT = {ACTION, DURATION_S, "span_id"}
# sd-daemon(3)
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

_NOTHING: Mapping[str, object] = MappingProxyType({})
_bound: ContextVar[Mapping[str, object]] = ContextVar("ordermq_log_fields", default=_NOTHING)
_RESERVED = frozenset(RESERVED_ATTRS) | {"taskName"}
_log = logging.getLogger(__name__)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put ``fields`` on every record of this thread inside the block; a None leaves a field as it was.

    The usual ones are ``message_id``, ``correlation_id``, ``queue`` and ``trace_id``. A
    thread started inside the block does not inherit them.
    """
    token = _bound.set(
        {**_bound.get(), **{name: value for name, value in fields.items() if value is not None}}
    )
    try:
        yield
    finally:
        _bound.reset(token)


def configure(
    settings: ObserveSettings,
    service: str,
    *,
    packages: Iterable[str] = (),
    correlation_name: str = CORRELATION_ID,
) -> None:
    """Send this process's logs to stderr. A second call replaces the first.

    Loggers of ordermq and of ``packages`` (a user's handlers) write from
    ``settings.log_level`` on, all others from WARNING. Uncaught exceptions of any thread and
    Python's warnings become records too. The field ``correlation_id`` is written under
    ``correlation_name``, as a shop writes its order ids.
    """
    root = logging.getLogger()
    handler = _handler()
    if handler is None:
        handler = StderrHandler()
        root.addHandler(handler)
    is_json = settings.log_format == "json"
    handler.setFormatter(JsonFormat(service, correlation_name) if is_json else TextFormat(correlation_name))
    root.setLevel(logging.WARNING)
    for package in {"ordermq", *packages}:
        logging.getLogger(package).setLevel(settings.log_level)
    # pika logs the first bytes of a returned message's body here; they may be personal data.
    logging.getLogger("pika.adapters.blocking_connection").addFilter(_is_without_body)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def say_dropped() -> None:
    """Write how many lines were dropped, if any were and stderr takes lines again."""
    if (handler := _handler()) is not None:
        handler.say_dropped()


def write_to(descriptor: int) -> None:
    """Send the lines of this process to another descriptor from now on; ``STDERR`` is that of the start."""
    if (handler := _handler()) is not None:
        handler.write_to(descriptor)


def _handler() -> "StderrHandler | None":
    return next((each for each in logging.getLogger().handlers if isinstance(each, StderrHandler)), None)


class StderrHandler(logging.Handler):
    """Write each record to file descriptor 2; a record that cannot be written is dropped and counted.

    It does not write to ``sys.stderr``, whose buffer keeps what a full disk or a closed pipe
    refused, fails again at exit and turns the exit code into 120.
    """

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._writer = LineWriter(descriptor)
        self._is_journal = _is_journal(descriptor)
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``. Never raises (LOG1)."""
        # In one write: a pipe that is full still has room for a short line, and would then be full again.
        if self._writer.write(self._said() + self._line(record)):
            self._dropped = 0
        else:
            self._dropped += 1
            metrics.log_lines_dropped.inc()

    def write_to(self, descriptor: int) -> None:
        """See the function."""
        with self.lock or nullcontext():
            self._writer = LineWriter(descriptor)
            self._is_journal = _is_journal(descriptor)

    def say_dropped(self) -> None:
        """See the function."""
        with self.lock or nullcontext():
            if self._dropped and self._writer.write(self._said()):
                self._dropped = 0

    def _said(self) -> bytes:
        if not self._dropped:
            return b""
        said = f"{self._dropped} log lines were dropped: what reads them stood still, or its disk was full"
        return self._line(_record(_log.name, logging.WARNING, said, LINES_DROPPED))

    def _line(self, record: logging.LogRecord) -> bytes:
        for part in PARTS:
            line = self._formatted(record, part)
            if len(line) <= LONGEST_LINE:
                return line
        return self._formatted(_unformattable(record, ValueError("it is too long")), PARTS[-1])

    def _formatted(self, record: logging.LogRecord, part: int) -> bytes:
        if isinstance(self.formatter, JsonFormat | TextFormat):
            self.formatter.part = part
        try:
            text = self.format(record)
        except Exception as exc:  # LOG1: a wrong %-argument, or an error of a field's own type
            text = self.format(_unformattable(record, exc))
        if self._is_journal:
            priority = _PRIORITIES.get(record.levelno, 5)
            text = f"<{priority}>{text}".replace("\n", "\\n")
        return text.encode("utf-8", "backslashreplace") + b"\n"


class JsonFormat(JsonFormatter):
    """One JSON object a line, ASCII only. ``part`` divides the longest that each value may be."""

    def __init__(self, service: str, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__()
        self.part = 1
        self._correlation_name = correlation_name
        self._service: dict[str, object] = {
            "ecs.version": ECS_VERSION,
            "service.name": service.partition("@")[0],
            "service.node.name": service,
            "service.version": __version__,
        }
        self._encode = json.JSONEncoder().encode

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Fill ``log_data``; python-json-logger calls it for each record."""
        longest = LONGEST_VALUE // self.part
        log_data["@timestamp"] = _rfc3339(record.created)
        log_data["log.level"] = record.levelname.lower()
        log_data["message"] = line(record.getMessage(), LONGEST_MESSAGE // self.part)
        log_data.update(self._service)
        log_data["log.logger"] = line(record.name)
        log_data["process.pid"] = record.process
        for name, value in _fields_of(record).items():
            if name == DURATION_S:
                if isinstance(value, float):
                    log_data["event.duration"] = round(value * 1e9)
                continue
            key = _ecs_name(self._correlation_name if name == CORRELATION_ID else name, longest)
            log_data.setdefault(key, field(value, longest))
        if record.exc_info and (error := record.exc_info[1]) is not None:
            log_data["error.type"] = line(type_name(error))
            log_data["error.message"] = line(printed(error), longest)
            log_data["error.stack_trace"] = _traceback(record, self.part)

    def jsonify_log_record(self, log_data: dict[str, object]) -> str:
        """Return the line; python-json-logger would make a new encoder for each."""
        return self._encode(log_data)

    def formatException(self, ei: object) -> str:  # logging's own name
        """Return nothing: ``add_fields`` writes the traceback, bounded."""
        return ""


class TextFormat(logging.Formatter):
    """``12:00:00.123 WARNING ordermq.relay: message  key=value``, an exception indented below."""

    def __init__(self, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__()
        self.part = 1
        self._correlation_name = correlation_name

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of ``record``."""
        longest = LONGEST_VALUE // self.part
        at = _rfc3339(record.created)[11:23]
        message = line(record.getMessage(), LONGEST_MESSAGE // self.part)
        extras: dict[str, object] = {}
        for name, value in _fields_of(record).items():
            key = self._correlation_name if name == CORRELATION_ID else line(name, longest)
            if name not in _NOT_IN_TEXT:
                extras.setdefault(key, field(value, longest))
        shown = "".join(f"  {name}={value}" for name, value in extras.items())
        head = f"{at} {record.levelname} {line(record.name)}: {message}{shown}"
        if not record.exc_info:
            return head
        return "\n    ".join([head, *_traceback(record, self.part).split("\n")])


def type_name(error: BaseException) -> str:
    """Return the full name of the error's type, as ECS and OpenTelemetry write it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that are bound around the call of ``record``, and its extras."""
    extras = {name: value for name, value in vars(record).items() if name not in _RESERVED}
    return {**_bound.get(), **extras}


@lru_cache(maxsize=256)
def _ecs_name(name: str, longest: int) -> str:
    # A dot in a label would make an object of it.
    return _ECS_NAMES.get(name) or f"labels.{line(name, longest).replace('.', '_')}"


def traceback_of(error: BaseException, part: int = 1) -> str:
    """Return the error's traceback, masked and bounded. ``part`` divides the longest that it may be."""
    info = (type(error), error, error.__traceback__)
    return block(logging.Formatter().formatException(info), LONGEST_EXCEPTION // part)


def _traceback(record: logging.LogRecord, part: int) -> str:
    if record.exc_info is None or record.exc_info[1] is None:
        return ""
    return traceback_of(record.exc_info[1], part)


def _rfc3339(created_s: float) -> str:
    return datetime.fromtimestamp(created_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unformattable(record: logging.LogRecord, exc: Exception) -> logging.LogRecord:
    said = f"a log record could not be written ({type(exc).__name__}): {printed(record.msg)}"
    return _record(record.name, logging.ERROR, said, LINE_UNWRITABLE)


def _record(logger: str, level: int, said: str, event: Mapping[str, object]) -> logging.LogRecord:
    record = logging.LogRecord(logger, level, __file__, 0, said, None, None)
    vars(record).update(event)
    return record


def _is_journal(descriptor: int) -> bool:
    """Whether ``descriptor`` is the socket to the journal that systemd gave this process."""
    try:
        status = os.fstat(descriptor)
    except OSError:  # it is closed
        return False
    return journal_stream() == f"{status.st_dev}:{status.st_ino}"


def _is_without_body(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Published message was returned")


def _uncaught(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, trace)
        return
    _log.critical("uncaught exception", exc_info=(kind, exc, trace), extra=PROCESS_BUG)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "?"
        _log.critical("uncaught exception in thread %s", name, exc_info=args.exc_value, extra=PROCESS_BUG)
