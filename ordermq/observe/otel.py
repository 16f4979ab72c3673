"""Spans and the exceptions in them, sent over OTLP by OpenTelemetry's SDK. Imported only where it is on.

The ids of a message's own span are in its traceparent before OpenTelemetry hears of it, so spans are
made here with the ids they have, and given to the SDK's processor. The SDK samples, batches and
sends them as its environment variables say (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...).

Invariants
    OTL1  A message's create span has the ids of the traceparent that travels with it.
    OTL2  Whether a trace is sampled is decided where it begins; all that follows does the same. A span
        of several messages is sampled if one of their traces is.
    OTL4  The end of a process waits for a receiver that is away no longer than it says.
    OTL3  No span or log record holds a body, a header, a query, or a text that is not masked.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ordermq import __version__
from ordermq.observe import trace
from ordermq.observe.logs import traceback_of, type_name
from ordermq.observe.text import line, printed
from ordermq.observe.tracing import Traced

MOST_LINKS = 128  # the SDK's own limit for a span

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"  # of the names below
_SCOPE = InstrumentationScope("ordermq", __version__, _SCHEMA)
_TARGET = re.compile(
    rb"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|LOCK\s+TABLE"
    rb"|(?<!epoch )FROM|SELECT(?=\s+\w+\.\w+\())\s+([A-Za-z_][\w.]*)",
    re.IGNORECASE,
)
# A value between its quotes, in which there may be words of SQL and names of persons.
_VALUE = re.compile(rb"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'", re.DOTALL)
_LONGEST_READ = 2000  # characters of a statement, to find its table


class OtlpTracer:
    """See ``tracing.Tracer``."""

    def __init__(self, service: str, *, exchange: str, continues: bool) -> None:
        name = service.partition("@")[0]
        attributes = {SERVICE_NAME: name, SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: service}
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins.
        self._resource = Resource(attributes).merge(OTELResourceDetector().detect())
        self._exchange = exchange
        self._continues = continues
        self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self._spans = BatchSpanProcessor(OTLPSpanExporter())
        self._provider.add_span_processor(self._spans)
        self._logs = LoggerProvider(resource=self._resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._logger = self._logs.get_logger("ordermq", __version__, _SCHEMA)
        # Other libraries that are instrumented, and handlers, add spans of their own.
        api.set_tracer_provider(self._provider)
        trace.sample_by(self._samples)

    def placed(self, name: str, traceparent: str, parent: str) -> None:
        now = time.time_ns()
        self._end(name, SpanKind.INTERNAL, _context(traceparent), now, parent=_context(parent))

    def created(self, message: Traced, parent: str) -> None:
        destination = self._destination(message.routing_key)
        attributes = {**self._operation("create", destination, message.routing_key), **_of_one(message)}
        context, around = _context(message.traceparent), _current()
        is_of_trace = around is not None and context is not None and around.trace_id == context.trace_id
        self._end(
            f"create {destination}", SpanKind.PRODUCER, context, time.time_ns(),
            parent=around if is_of_trace else _context(parent),
            links=[] if around is None or is_of_trace else [Link(around)],
            attributes=attributes,
        )  # fmt: skip

    def sent(self, messages: Sequence[Traced], failures: Mapping[int, str], began_ns: int) -> None:
        key = messages[0].routing_key
        destination = self._destination(key)
        attributes = {**self._operation("send", destination, key), **_of_all(messages)}
        error = next(iter(failures.values()), "")
        if error:
            attributes["error.type"] = error
        self._end(
            f"send {destination}", SpanKind.CLIENT, self._new_context(messages), began_ns,
            links=_links(messages), attributes=attributes, error=error,
        )  # fmt: skip

    def settled(self, queue: str, messages: Sequence[Traced], began_ns: int) -> None:
        destination = self._destination(queue, f"{self._exchange}.{queue}")
        attributes = {**self._operation("ack", destination, queue, "settle"), **_of_all(messages)}
        self._end(
            f"ack {destination}", SpanKind.CLIENT, self._new_context(messages), began_ns,
            links=_links(messages), attributes=attributes,
        )  # fmt: skip

    @contextmanager
    def processing(self, queue: str, messages: Sequence[Traced]) -> Iterator["_Open"]:
        destination = self._destination(queue, f"{self._exchange}.{queue}")
        attributes = {**self._operation("process", destination, queue), **_of_all(messages)}
        is_continued = self._continues and len(messages) == 1 and not messages[0].is_again
        parent = _context(messages[0].traceparent) if is_continued else None
        context = _child_of(parent) if parent is not None else self._new_context(messages)
        span = _Open(context, attributes)
        with self._opened(span, f"process {destination}", SpanKind.CONSUMER, parent, _links(messages)):
            yield span

    @contextmanager
    def requesting(self, method: str, url: str) -> Iterator["_Open"]:
        parts = urlsplit(url)
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "url.full": line(url),
        }
        parent = _current()
        span = _Open(_child_of(parent) if parent else self._new_context(()), attributes)
        with self._opened(span, method, SpanKind.CLIENT, parent, ()):
            yield span

    @contextmanager
    def querying(self, statement: bytes, count: int) -> Iterator["_Open | None"]:
        parent = _current()
        if parent is None:  # what belongs to no message would be a trace for each poll
            yield None
            return
        summary = summary_of(statement)
        attributes: dict[str, Any] = {"db.system.name": "postgresql", "db.query.summary": summary}
        if count > 1:
            attributes["db.operation.batch.size"] = count
        span = _Open(_child_of(parent), attributes)
        with self._opened(span, summary, SpanKind.CLIENT, parent, (), is_logged=False):
            yield span

    def now_ns(self) -> int:
        return time.time_ns()

    def close(self, timeout_s: float) -> None:
        # The SDK goes on past the timeout it is given, for as long as its exporter tries again.
        thread = threading.Thread(target=self._flush, name="ordermq-otel", daemon=True)
        thread.start()
        thread.join(timeout_s)

    def _flush(self) -> None:
        self._logs.shutdown()
        self._provider.shutdown()

    # --- spans ---

    @contextmanager
    def _opened(
        self,
        span: "_Open",
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        links: Sequence[Link],
        *,
        is_logged: bool = True,
    ) -> Iterator[None]:
        began_ns = time.time_ns()
        token = contexts.attach(api.set_span_in_context(NonRecordingSpan(span.context)))
        try:
            yield
        except BaseException as exc:
            span.failed(exc)
            raise
        finally:
            contexts.detach(token)
            if is_logged and span.error is not None:
                self._log_exception(span.error, span.context)
            self._end(
                name, kind, span.context, began_ns,
                parent=parent, links=links, attributes=span.attributes, error=span.error_text,
            )  # fmt: skip
            span.error = None  # its traceback has this frame, and with it the messages

    def _end(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext | None,
        began_ns: int,
        *,
        parent: SpanContext | None = None,
        links: Sequence[Link] = (),
        attributes: Mapping[str, Any] | None = None,
        error: str = "",
    ) -> None:
        if context is None or not context.trace_flags.sampled:
            return
        status = Status(StatusCode.ERROR, error) if error else Status()
        self._spans.on_end(
            ReadableSpan(
                name, context, parent, self._resource, attributes or {},
                links=links, kind=kind, status=status, start_time=began_ns, end_time=time.time_ns(),
                instrumentation_scope=_SCOPE,
            )
        )  # fmt: skip

    def _log_exception(self, error: BaseException, context: SpanContext) -> None:
        if not context.trace_flags.sampled:
            return
        message = line(printed(error))
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=api.set_span_in_context(NonRecordingSpan(context)),
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                body=message,
                attributes={
                    "exception.type": type_name(error),
                    "exception.message": message,
                    "exception.stacktrace": traceback_of(error),
                },
            )
        )

    # --- contexts ---

    def _samples(self, trace_id: str) -> bool:
        found = self._provider.sampler.should_sample(None, int(trace_id, 16), "")
        return found.decision is Decision.RECORD_AND_SAMPLE

    def _new_context(self, messages: Sequence[Traced]) -> SpanContext:
        """Return the context of a trace of its own, which is sampled if one of the messages' is (OTL2)."""
        _, trace_id, span_id, _ = trace.new().split("-")
        known = [each.flags for each in map(_parsed, messages) if each is not None]
        flags = TraceFlags(any(known) if known else self._samples(trace_id))
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

    # --- attributes ---

    def _destination(self, key: str, queue: str = "") -> str:
        return ":".join(each for each in (self._exchange, key, queue) if each)

    def _operation(self, name: str, destination: str, key: str, kind: str = "") -> dict[str, Any]:
        return {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": name,
            "messaging.operation.type": kind or name,
            "messaging.destination.name": destination,
            "messaging.rabbitmq.destination.routing_key": key,
        }


class _Open:
    """See ``tracing.OpenSpan``."""

    def __init__(self, context: SpanContext, attributes: dict[str, Any]) -> None:
        self.context = context
        self.attributes = attributes
        self.error: BaseException | None = None
        self.error_text = ""

    @property
    def traceparent(self) -> str:
        context = self.context
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def failed(self, error: BaseException | str) -> None:
        if isinstance(error, BaseException):
            self.error, self.attributes["error.type"] = error, type_name(error)
            self.error_text = line(printed(error)) or type_name(error)
        else:
            self.attributes["error.type"] = self.error_text = error

    def answered(self, status: int) -> None:
        self.attributes["http.response.status_code"] = status
        if status >= 400:
            self.failed(str(status))


def summary_of(statement: bytes) -> str:
    """Return what a batch of statements does to which tables: no value, so a few names for all batches."""
    parts: list[str] = []
    for each in _VALUE.sub(b"", statement).split(b"\n;\n"):
        text = each.strip()[:_LONGEST_READ]
        word = text.split(None, 1)[0].decode("ascii", "replace").upper() if text else ""
        found = _TARGET.search(text)
        if found and word in ("INSERT", "UPDATE", "DELETE", "SELECT", "WITH", "LOCK", "MERGE"):
            verb = found[1].split()[0].decode().upper()
            parts.append(f"{'SELECT' if verb == 'FROM' else verb} {found[2].decode()}")
        else:
            parts.append(word)
    return f"BATCH {'; '.join(parts)}"[:255] if len(parts) > 1 else parts[0]


def _of_all(messages: Sequence[Traced]) -> dict[str, Any]:
    return _of_one(messages[0]) if len(messages) == 1 else {"messaging.batch.message_count": len(messages)}


def _of_one(message: Traced) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "messaging.message.id": line(message.message_id),
        "messaging.message.body.size": message.size_bytes,
    }
    if message.correlation_id:
        attributes["messaging.message.conversation_id"] = line(message.correlation_id)
    if message.type:
        attributes["ordermq.message.type"] = line(message.type)
    return attributes


def _links(messages: Sequence[Traced]) -> list[Link]:
    return [
        Link(context, {"messaging.message.id": line(each.message_id)})
        for each in messages[:MOST_LINKS]
        if (context := _context(each.traceparent)) is not None
    ]


def _parsed(message: Traced) -> trace.Trace | None:
    return trace.parse(message.traceparent)


def _current() -> SpanContext | None:
    context = api.get_current_span().get_span_context()
    return context if context.is_valid else None


def _context(traceparent: str) -> SpanContext | None:
    parsed = trace.parse(traceparent)
    return _span_context(parsed) if parsed else None


def _child_of(parent: SpanContext) -> SpanContext:
    span_id = int(trace.new().split("-")[2], 16)
    return SpanContext(parent.trace_id, span_id, is_remote=False, trace_flags=parent.trace_flags)


def _span_context(parsed: trace.Trace) -> SpanContext:
    flags = TraceFlags(parsed.flags)
    return SpanContext(int(parsed.trace_id, 16), int(parsed.span_id, 16), is_remote=True, trace_flags=flags)
