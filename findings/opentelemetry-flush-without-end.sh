#!/usr/bin/env bash
# opentelemetry-sdk 1.45.0: force_flush(1000) returns after seven seconds, and says True though nothing was sent.
#
# The argument of BatchSpanProcessor.force_flush is timeout_millis, and the specification says that it lets the caller know whether
# it succeeded, failed or timed out; a process calls it before it ends.
# Guess: against a receiver that is away it returns False after one second at the latest.
# Seen:  the exporter tries again with growing pauses for as long as its own timeout (10 s) lasts. The flush waits for all of that and
#        then returns True. So a deadline of a second costs seven, and the spans are gone without a word to the caller.
# So: flush in a thread that is waited for, and count what a receiver has taken, not what flush says.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'opentelemetry-sdk==1.45.0' 'opentelemetry-exporter-otlp-proto-http==1.45.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import logging
import socket
import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

logging.disable()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")))
with provider.get_tracer("seen").start_as_current_span("order"):
    pass
began = time.monotonic()
answer = provider.force_flush(1000)
took = time.monotonic() - began
print(f"force_flush(1000) = {answer}, {'over 3 s' if took > 3 else 'in time'}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected="force_flush(1000) = True, over 3 s"
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'opentelemetry-sdk no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
