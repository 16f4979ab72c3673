"""A receiver of OTLP over HTTP, in a process of its own, built on the protocol's own messages.

``python -m tests.support.otlp FILE`` prints its port and writes each span and each log record that
comes, as a line of JSON, to FILE.
"""

import gzip
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ROOT = Path(__file__).parents[2]


class Receiver:
    """The process, for a with statement; ``spans`` and ``logs`` are what has come so far."""

    def __init__(self, folder):
        self._file = folder / "otlp.jsonl"
        self._file.touch()

    def __enter__(self):
        program = [sys.executable, "-m", "tests.support.otlp", str(self._file)]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *exc):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()

    def environment(self):
        return {
            "OTEL_SEMCONV_STABILITY_OPT_IN": "messaging",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
        }

    @property
    def spans(self):
        return [each for each in self._lines() if each["is"] == "span"]

    @property
    def logs(self):
        return [each for each in self._lines() if each["is"] == "log"]

    def _lines(self):
        return [
            json.loads(line) for line in self._file.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]


def value_of(value):
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def attributes_of(pairs):
    return {pair.key: value_of(pair.value) for pair in pairs}


def spans_of(body):
    for some in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in some.scope_spans:
            for span in scope.spans:
                yield {
                    "is": "span",
                    "resource": attributes_of(some.resource.attributes),
                    "scope": scope.scope.name,
                    "schema": scope.schema_url,
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "attributes": attributes_of(span.attributes),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "status": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    "began_ns": span.start_time_unix_nano,
                    "ended_ns": span.end_time_unix_nano,
                }


def logs_of(body):
    for some in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in some.scope_logs:
            for record in scope.log_records:
                yield {
                    "is": "log",
                    "body": value_of(record.body),
                    "severity": record.severity_text,
                    "attributes": attributes_of(record.attributes),
                    "trace_id": record.trace_id.hex(),
                    "span_id": record.span_id.hex(),
                }


READERS = {
    "/v1/traces": (spans_of, ExportTraceServiceResponse),
    "/v1/logs": (logs_of, ExportLogsServiceResponse),
}


def serve(path):
    with open(path, "a", buffering=1) as file:

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                read, answer = READERS[self.path]
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                file.write("".join(json.dumps(each) + "\n" for each in read(body)))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(answer().SerializeToString())

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
