"""Logs: one line a record on stderr, JSON for machines or text for a person.

Every record carries timestamp (RFC 3339, UTC, milliseconds), level, logger, message and
service. The fields that ``bind`` put around the call follow: trace_id, correlation_id,
message_id, queue; then those of ``extra=``. An exception is one field.

Invariants
    LOG1  A log call never raises, whatever its arguments are and even if stderr is closed, and it never
        waits for a reader that stands still. What is dropped is counted, and said when it flows again.
    LOG2  A record is written whole, so processes that share a stderr do not mix their lines.
    LOG4  A record has less bytes than a line of journald, which cuts longer ones.
    LOG3  Text that a publisher sent is written escaped; a known credential is never written.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from ordermq.config.settings import ObserveSettings
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
    formats = JsonFormat if settings.log_format == "json" else TextFormat
    root = logging.getLogger()
    handler = _handler()
    if handler is None:
        handler = StderrHandler()
        root.addHandler(handler)
    handler.setFormatter(formats(service, correlation_name))
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

    def say_dropped(self) -> None:
        """See the function."""
        with self.lock or nullcontext():
            if self._dropped and self._writer.write(self._said()):
                self._dropped = 0

    def _said(self) -> bytes:
        if not self._dropped:
            return b""
        said = f"{self._dropped} log lines were dropped: what reads them stood still, or its disk was full"
        return self._line(logging.LogRecord(_log.name, logging.WARNING, __file__, 0, said, None, None))

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
        return text.encode("utf-8", "backslashreplace") + b"\n"


class JsonFormat(JsonFormatter):
    """One JSON object a line, ASCII only. ``part`` divides the longest that each value may be."""

    def __init__(self, service: str, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__(json_ensure_ascii=True)
        self.part = 1
        self._service = service
        self._correlation_name = correlation_name

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Fill ``log_data``; python-json-logger calls it for each record."""
        log_data.update(record_fields(record, self._service, self._correlation_name, part=self.part))


class TextFormat(logging.Formatter):
    """``12:00:00.123 WARNING ordermq.relay: message  key=value``, an exception indented below."""

    def __init__(self, service: str, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__()
        self.part = 1
        self._service = service
        self._correlation_name = correlation_name

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of ``record``."""
        fields = record_fields(record, self._service, self._correlation_name, part=self.part)
        timestamp, level, logger, message, _, *names = fields
        exception = str(fields.get("exception", ""))
        extras = "".join(f"  {name}={fields[name]}" for name in names if name != "exception")
        head = f"{str(fields[timestamp])[11:23]} {fields[level]} {fields[logger]}: {fields[message]}{extras}"
        return "\n    ".join([head, *exception.split("\n")]) if exception else head


def record_fields(
    record: logging.LogRecord, service: str, correlation_name: str = CORRELATION_ID, *, part: int = 1
) -> dict[str, object]:
    """Return the fields of ``record``, safe to write: the fixed ones, the bound, then the extras.

    ``part`` divides the longest that each value may be.
    """
    extras = {name: value for name, value in vars(record).items() if name not in _RESERVED}
    fields: dict[str, object] = {
        "timestamp": _rfc3339(record.created),
        "level": record.levelname,
        "logger": line(record.name),
        "message": line(record.getMessage(), LONGEST_MESSAGE // part),
        "service": service,
    }
    for name, value in {**_bound.get(), **extras}.items():
        key = correlation_name if name == CORRELATION_ID else line(name, LONGEST_VALUE // part)
        fields.setdefault(key, field(value, LONGEST_VALUE // part))
    if record.exc_info:
        exception = logging.Formatter().formatException(record.exc_info)
        fields["exception"] = block(exception, LONGEST_EXCEPTION // part)
    return fields


def _rfc3339(created_s: float) -> str:
    return datetime.fromtimestamp(created_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unformattable(record: logging.LogRecord, exc: Exception) -> logging.LogRecord:
    said = f"a log record could not be written ({type(exc).__name__}): {printed(record.msg)}"
    return logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, said, None, None)


def _is_without_body(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Published message was returned")


def _uncaught(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, trace)
        return
    _log.critical("uncaught exception", exc_info=(kind, exc, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "?"
        _log.critical("uncaught exception in thread %s", name, exc_info=args.exc_value)
