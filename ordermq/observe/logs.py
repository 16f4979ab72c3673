"""Logs: one line a record on stderr, JSON for machines or text for a person.

Every record carries timestamp (RFC 3339, UTC, milliseconds), level, logger, message and
service. The fields that ``bind`` put around the call follow: trace_id, correlation_id,
message_id, queue; then those of ``extra=``. An exception is one field.

Invariants
    LOG1  A log call never raises, whatever its arguments are and even if stderr is closed.
    LOG2  A record is one write, so processes that share a stderr do not mix their lines.
    LOG3  Text that a publisher sent is written escaped; a known credential is never written.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from ordermq.config.settings import ObserveSettings
from ordermq.observe.text import LONGEST_MESSAGE, block, field, line, printed

STDERR = 2
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
    """Send this process's logs to stderr. Call it before the first thread; a second call replaces the first.

    Loggers of ordermq and of ``packages`` (a user's handlers) write from
    ``settings.log_level`` on, all others from WARNING. Uncaught exceptions of any thread and
    Python's warnings become records too. The field ``correlation_id`` is written under
    ``correlation_name``, as a shop writes its order ids.
    """
    handler = StderrHandler()
    formats = JsonFormat if settings.log_format == "json" else TextFormat
    handler.setFormatter(formats(service, correlation_name))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for package in {"ordermq", *packages}:
        logging.getLogger(package).setLevel(settings.log_level)
    # pika logs the first bytes of a returned message's body here; they may be personal data.
    logging.getLogger("pika.adapters.blocking_connection").addFilter(_is_without_body)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


class StderrHandler(logging.Handler):
    """Write each record to file descriptor 2 with one call; a record that cannot be written is dropped.

    It does not write to ``sys.stderr``, whose buffer keeps what a full disk or a closed pipe
    refused, fails again at exit and turns the exit code into 120.
    """

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``. Never raises (LOG1)."""
        try:
            text = self.format(record)
        except Exception as exc:  # LOG1: a wrong %-argument, or an error of a field's own type
            text = self.format(_unformattable(record, exc))
        data = memoryview(text.encode("utf-8", "backslashreplace") + b"\n")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            pass  # LOG1: a closed pipe or a full disk; there is no place left to report it


class JsonFormat(JsonFormatter):
    """One JSON object a line, ASCII only."""

    def __init__(self, service: str, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__(json_ensure_ascii=True)
        self._service = service
        self._correlation_name = correlation_name

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Fill ``log_data``; python-json-logger calls it for each record."""
        log_data.update(record_fields(record, self._service, self._correlation_name))


class TextFormat(logging.Formatter):
    """``12:00:00.123 WARNING ordermq.relay: message  key=value``, an exception indented below."""

    def __init__(self, service: str, correlation_name: str = CORRELATION_ID) -> None:
        super().__init__()
        self._service = service
        self._correlation_name = correlation_name

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of ``record``."""
        fields = record_fields(record, self._service, self._correlation_name)
        timestamp, level, logger, message, _, *names = fields
        exception = str(fields.get("exception", ""))
        extras = "".join(f"  {name}={fields[name]}" for name in names if name != "exception")
        head = f"{str(fields[timestamp])[11:23]} {fields[level]} {fields[logger]}: {fields[message]}{extras}"
        return "\n    ".join([head, *exception.split("\n")]) if exception else head


def record_fields(
    record: logging.LogRecord, service: str, correlation_name: str = CORRELATION_ID
) -> dict[str, object]:
    """Return the fields of ``record``, safe to write: the fixed ones, the bound, then the extras."""
    extras = {name: value for name, value in vars(record).items() if name not in _RESERVED}
    fields: dict[str, object] = {
        "timestamp": _rfc3339(record.created),
        "level": record.levelname,
        "logger": line(record.name),
        "message": line(record.getMessage(), LONGEST_MESSAGE),
        "service": service,
    }
    for name, value in {**_bound.get(), **extras}.items():
        fields.setdefault(correlation_name if name == CORRELATION_ID else line(name), field(value))
    if record.exc_info:
        fields["exception"] = block(logging.Formatter().formatException(record.exc_info))
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
