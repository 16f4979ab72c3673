"""``ordermq healthcheck`` against a process's real health port."""

import socket
import threading

import pytest
from click.testing import CliRunner

from ordermq.cli.healthcheck import command
from ordermq.config.settings import ObserveSettings
from ordermq.errors import ConfigError
from ordermq.observe.health import Health
from ordermq.observe.http import HealthServer


@pytest.fixture
def health():
    return Health()


@pytest.fixture
def ask(health, monkeypatch):
    """Run the command with the variables of the process that answers."""
    server = HealthServer(ObserveSettings(), health)
    monkeypatch.setenv("ORDERMQ_CONFIG", "")
    monkeypatch.setenv("ORDERMQ_OBSERVE_HTTP_HOST", "0.0.0.0")  # noqa: S104 # where a container listens
    monkeypatch.setenv("ORDERMQ_OBSERVE_HTTP_PORT", server.address.partition(":")[2])
    yield lambda *options: CliRunner().invoke(command, options)
    server.close()


def test_a_process_that_starts_is_live_and_not_ready(ask, health):
    live, ready = ask(), ask("--ready")
    assert (live.exit_code, live.output) == (0, "live\n")
    assert (ready.exit_code, ready.output) == (1, "io: starting\n")

    health.set_ready(True)
    assert ask("--ready").output == "ready\n"


def test_a_process_that_is_gone_is_not_healthy_and_the_line_says_where_it_was_asked(ask, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("ORDERMQ_OBSERVE_HTTP_PORT", str(port))
        late = ask("--timeout", "0.2")
    gone = ask()
    assert (late.exit_code, late.output) == (1, f"127.0.0.1:{port} does not answer: timed out\n")
    assert gone.exit_code == 1
    assert f"127.0.0.1:{port} does not answer: " in gone.output


@pytest.mark.parametrize("body", ["[]", "{}", "null", "<html>"])
def test_the_answer_of_another_program_is_no_sign_of_life(ask, monkeypatch, body):
    def answer(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("ORDERMQ_OBSERVE_HTTP_PORT", str(other.getsockname()[1]))
        thread = threading.Thread(target=answer, args=(other,))
        thread.start()
        said = ask()
        thread.join()
    assert said.exit_code == 1
    assert " does not answer: " in said.output


def test_without_a_fixed_port_it_says_which_setting_is_missing(ask, monkeypatch):
    monkeypatch.delenv("ORDERMQ_OBSERVE_HTTP_PORT")
    refused = ask().exception
    assert isinstance(refused, ConfigError)
    assert "set one, for example ORDERMQ_OBSERVE_HTTP_PORT=9090" in str(refused)
