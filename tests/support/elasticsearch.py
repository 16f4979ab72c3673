"""The two requests of Elasticsearch that shippers of logs make: an index template, and ``_bulk``.

It answers as Elasticsearch does, over HTTP, and remembers which fields a document has that the
template does not map, and which values are too long to be found.
"""

import json
import threading
from datetime import datetime
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXTS = {"keyword", "constant_keyword", "match_only_text", "text", "wildcard"}


class Elasticsearch:
    """A server on a port of its own, for a with statement; ``documents`` is what it took, flat."""

    def __init__(self):
        self.templates = {}
        self.documents = []
        self.unmapped = set()
        self.ignored = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()

    def put_template(self, name, template):
        """Take an index template; ValueError if it has no pattern or an unknown key."""
        known = {"index_patterns", "data_stream", "priority", "_meta", "template", "version", "composed_of"}
        if not template.get("index_patterns") or template.keys() - known:
            raise ValueError(f"unknown keys {template.keys() - known}")
        self.templates[name] = template

    def create(self, stream, document):
        """Take a document into a data stream; ValueError as Elasticsearch's mapper would refuse it."""
        [template] = [each for each in self.templates.values() if fnmatch(stream, each["index_patterns"][0])]
        mappings = template["template"]["mappings"]
        fields = dict(_flat(document))
        if "@timestamp" not in fields:
            raise ValueError("a document of a data stream needs @timestamp")
        for name, value in fields.items():
            self._check(name, value, mapping_of(name, mappings))
        self.documents.append(fields)

    def _check(self, name, value, mapping):
        if mapping is None:
            self.unmapped.add(name)
        elif mapping["type"] == "date":
            datetime.fromisoformat(value)
        elif mapping["type"] == "long":
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
                raise ValueError(f"failed to parse field [{name}] of type [long]: {value!r}")
        elif mapping["type"] in TEXTS:
            if isinstance(value, (dict, list)):
                raise ValueError(f"failed to parse field [{name}]: {value!r}")
            if len(str(value)) > mapping.get("ignore_above", 10**9):
                self.ignored.add(name)
        else:
            raise ValueError(f"this server knows no type {mapping['type']}")


def mapping_of(name, mappings):
    """Return the mapping of a field by its flat name, or None if the template has none."""
    node = mappings
    for part in name.split("."):
        node = node.get("properties", {}).get(part)
        if node is None:
            break
    else:
        return node if "type" in node else None
    parent = mappings["properties"].get(name.partition(".")[0], {})
    if parent.get("dynamic") is not True or name.count(".") != 1:
        return None
    patterns = [rule for each in mappings["dynamic_templates"] for rule in each.values()]
    return next((rule["mapping"] for rule in patterns if fnmatch(name, rule["path_match"])), None)


def _flat(document, prefix=""):
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:  # as a field that is not there
            yield prefix + name, value


def _handler_of(server):
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            _, kind, name = self.path.split("/")
            assert kind == "_index_template"
            try:
                server.put_template(name, json.loads(self._body()))
            except ValueError as exc:
                self._answer(400, {"error": {"type": "illegal_argument_exception", "reason": str(exc)}})
                return
            self._answer(200, {"acknowledged": True})

        def do_POST(self):
            assert self.path == "/_bulk"
            body = self._body()
            if not body.endswith(b"\n") or self.headers["Content-Type"] != "application/x-ndjson":
                self._answer(400, {"error": {"type": "illegal_argument_exception"}})
                return
            lines = [json.loads(line) for line in body.splitlines()]
            items = [_created(server, *pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
            self._answer(
                200, {"errors": any(each["create"]["status"] != 201 for each in items), "items": items}
            )

        def _body(self):
            return self.rfile.read(int(self.headers["Content-Length"]))

        def _answer(self, status, document):
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return Handler


def _created(server, action, document):
    [(verb, target)] = action.items()
    try:
        if verb != "create":
            raise ValueError("only write ops with an op_type of create are allowed in data streams")
        server.create(target["_index"], document)
    except ValueError as exc:
        error = {"type": "document_parsing_exception", "reason": str(exc)}
        return {"create": {"_index": target["_index"], "status": 400, "error": error}}
    return {"create": {"_index": target["_index"], "status": 201, "result": "created"}}
