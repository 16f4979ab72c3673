"""The example of docs/gateways.md: a gateway of a shop and its test, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gateways.md"

STUB = """
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Stub:
    def __init__(self):
        self.books = {}

    def balance(self, customer_id):
        return sum(points for customer, points in self.books.values() if customer == customer_id)


@pytest.fixture
def club_stub():
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Authorization"] == "Bearer a token"
            stub.books.setdefault(self.headers["Idempotency-Key"], (body["customer"], body["points"]))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield stub
    server.shutdown()
    server.server_close()
"""


def written(folder, *, change=("", "")):
    """Write the files of the page, and the stub of its service, into ``folder``."""
    for name, body in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        (folder / name).write_text(body.replace(*change) if name == "club.py" else body)
    (folder / "conftest.py").write_text(STUB)


def run_suite(folder):
    env = {**os.environ, "PYTHONPATH": str(folder)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)]
    return subprocess.run(argv, env=env, cwd=folder, check=False, capture_output=True, text=True, timeout=120)


def test_the_example_passes_its_suite(tmp_path):
    written(tmp_path)
    found = run_suite(tmp_path)
    assert found.returncode == 0, found.stdout
    assert "6 passed" in found.stdout


def test_the_example_with_one_mistake_does_not(tmp_path):
    written(tmp_path, change=("idempotency_key=booking.key", "idempotency_key=None"))
    found = run_suite(tmp_path)
    assert found.returncode == 1, found.stdout


def test_its_settings_choose_it(tmp_path):
    written(tmp_path)
    config = re.search(r"^```toml\n(modules = .*?\"club\".*?)^```$", PAGE.read_text(), re.M | re.S)[1]
    (tmp_path / "ordermq.toml").write_text(config)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "ORDERMQ_CONFIG": str(tmp_path / "ordermq.toml")}
    code = """if True:
        from ordermq.cli.program import load_program
        from ordermq.shop.handlers.points import AwardPointsHandler

        program = load_program(None)
        assert AwardPointsHandler in [each.call for each in program.registry.of_queue("points")]
        print(type(AwardPointsHandler.from_config(program.loaded)._gateway).__name__)
    """
    found = subprocess.run(
        [sys.executable, "-c", code], env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert found.stdout == "ClubGateway\n", found.stderr
