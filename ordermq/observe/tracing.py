"""Spans of what happens to messages, for a process that sends them; nothing at all in every other.

A message's traceparent names the span that created it, whether or not that span is sent anywhere.
``start`` makes this process send its spans over OTLP if OTEL_SEMCONV_STABILITY_OPT_IN asks for the
messaging conventions, which are not stable yet. Then ``tracer()`` is a Tracer; otherwise it is None
and no module of OpenTelemetry is imported. docs/tracing.md has the picture.

https://opentelemetry.io/docs/specs/semconv/messaging/
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from ordermq.config.environment import wants_spans
from ordermq.log_events import SPANS_UNAVAILABLE
from ordermq.observe import trace
from ordermq.observe.logs import bind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Traced:
    """What spans say of a message. ``traceparent`` names the span that created it."""

    traceparent: str
    message_id: str
    correlation_id: str
    type: str
    routing_key: str
    size_bytes: int
    is_again: bool = False  # sent again: its processing is a trace of its own, which has a link


class OpenSpan(Protocol):
    """A span that has begun."""

    traceparent: str

    def failed(self, error: BaseException | str) -> None:
        """Note the error, or its name, that the span ends with."""

    def answered(self, status: int) -> None:
        """Note the status of an HTTP answer; from 400 on it is an error."""


class Tracer(Protocol):
    """Sends spans. Thread-safe; a call never raises and never waits for the network."""

    def placed(self, name: str, traceparent: str, parent: str) -> None:
        """Tell that the span ``traceparent`` began a trace, or continued that of ``parent``."""

    def created(self, message: Traced, parent: str) -> None:
        """Tell that a message was written, by a transaction that has committed.

        ``parent`` is what its traceparent continues. Within a span of the same trace, that is its parent.
        """

    def sent(self, messages: Sequence[Traced], failures: Mapping[int, str], began_ns: int) -> None:
        """Tell that messages of one routing key were published together; ``failures`` by position."""

    def settled(self, queue: str, messages: Sequence[Traced], began_ns: int) -> None:
        """Tell that messages were acked together."""

    def processing(self, queue: str, messages: Sequence[Traced]) -> AbstractContextManager[OpenSpan]:
        """Handle messages in the block: what is called there belongs to the span."""

    def requesting(self, method: str, url: str) -> AbstractContextManager[OpenSpan]:
        """Make an HTTP request in the block; ``url`` has no query and no credentials."""

    def querying(self, statement: bytes, count: int) -> AbstractContextManager[OpenSpan | None]:
        """Run ``count`` SQL statements in one round trip in the block."""

    def now_ns(self) -> int:
        """Return the time for ``began_ns``."""

    def close(self, timeout_s: float) -> None:
        """Send what waits, for at most so long."""


class _Process:
    tracer: Tracer | None = None


def tracer() -> Tracer | None:
    """Return the tracer of this process, or None if it sends no spans."""
    return _Process.tracer


@contextmanager
def sending_spans(service: str, *, exchange: str, continues: bool, flush_s: float = 5.0) -> Iterator[None]:
    """Send spans in the block, if the environment asks for them; ``continues`` as in the settings."""
    if not wants_spans():
        yield
        return
    if not _is_installed():
        log.warning(
            "no spans are sent, although OTEL_SEMCONV_STABILITY_OPT_IN asks for them: OpenTelemetry is not"
            " installed (pip install 'ordermq[otel]')",
            extra=SPANS_UNAVAILABLE,
        )
        yield
        return
    otel = import_module("ordermq.observe.otel")
    started: Tracer = otel.OtlpTracer(service, exchange=exchange, continues=continues)
    _Process.tracer = started
    try:
        yield
    finally:
        _Process.tracer = None
        trace.sample_by(None)
        started.close(flush_s)


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it is missing; many libraries bring only the API
        return False


def in_span(span: OpenSpan) -> AbstractContextManager[None]:
    """Return a context in which log records name the span."""
    parsed = trace.parse(span.traceparent)
    return bind(trace_id=parsed.trace_id, span_id=parsed.span_id) if parsed else bind()
