"""The HTTP client against services that misbehave on the wire."""

import socket
import threading
import time
from contextlib import closing, contextmanager

import pytest

from ordermq.errors import GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import JsonClient
from ordermq.testing import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"id": "x"}'


class Service:
    """Accepts connections and plays one script each; counts the requests that arrived whole."""

    def __init__(self, *scripts):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._scripts = list(scripts)
        self.requests = 0
        self.connections = 0
        self.closed = 0
        self._thread = threading.Thread(target=self._main)

    def start(self):
        self._thread.start()
        return self

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _main(self):
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection):
                self.connections += 1
                for answer in script:
                    self._read(connection)
                    self._play(connection, answer)
            self.closed += 1

    def _read(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536) or b"\r\n\r\n"
        self.requests += data != b"\r\n\r\n"

    def _play(self, connection, answer):
        try:
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
        except OSError:
            return  # the client has given up


@contextmanager
def client_of(*scripts, timeout_s=0.5):
    service = Service(*scripts).start()
    with closing(service):
        yield service, JsonClient(service.url, connect_timeout_s=0.5, timeout_s=timeout_s)


def drip(connection):
    for byte in OK:
        connection.sendall(bytes([byte]))
        time.sleep(0.15)  # 7 s for all of it


def hang(connection):
    connection.settimeout(20)
    connection.recv(1)


def test_requests_share_a_connection():
    with client_of([OK, OK, OK]) as (service, client):
        for _ in range(3):
            assert client.post("/x", {}).body() == {"id": "x"}
        assert service.connections == 1


def test_an_answer_a_byte_at_a_time_does_not_outlast_the_deadline():
    with client_of([drip]) as (_, client):
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="POST /x: no usable answer"):
            client.post("/x", {})
        assert time.monotonic() - begun < 4.5


def test_a_silent_service_is_unknown_within_the_caller_s_deadline():
    with client_of([hang], timeout_s=15.0) as (_, client):
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            client.get("/x", timeout_s=0.2)
        assert time.monotonic() - begun < 7.5


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 9_999_999,
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: x\r\n" * 1000 + b"\r\n",
    ],
    ids=["not HTTP", "cut short", "too large", "too many headers"],
)
def test_an_answer_that_is_none_is_unknown(answer):
    # HTP2
    with client_of([answer]) as (_, client), pytest.raises(OutcomeUnknown):
        client.post("/x", {}, idempotency_key="k")


def test_a_body_that_is_no_json_object_is_an_empty_one():
    body = b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\n[1]\n"
    with client_of([body]) as (_, client):
        answer = client.post("/x", {})
    assert (answer.status, answer.body(), answer.retry_after_s) == (502, {}, 7.0)


def test_nothing_listening_is_certainly_not_sent():
    # HTP1
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(GatewayUnavailable, match=f"cannot connect to {where}: "):
        JsonClient(f"http://{where}", connect_timeout_s=0.5, timeout_s=0.5).post("/x", {})


def test_a_kept_alive_connection_that_was_closed_meanwhile_is_not_used():
    with client_of([OK], [OK]) as (service, client):
        client.post("/x", {})
        wait_until(lambda: service.closed == 1, 5)
        assert client.post("/x", {}).status == 200
        assert (service.connections, service.requests) == (2, 2)


def close_unanswered(connection):
    connection.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_dies_under_a_request_is_unknown_without_a_key():
    # HTP3: without a key the request is not idempotent.
    with client_of([OK, close_unanswered], [OK]) as (service, client):
        client.post("/x", {})
        with pytest.raises(OutcomeUnknown):
            client.post("/x", {})
        assert service.requests == 2


def test_a_connection_that_dies_under_a_request_is_replaced_if_the_request_has_a_key():
    # HTP3
    with client_of([OK, close_unanswered], [OK]) as (service, client):
        client.post("/x", {})
        assert client.post("/x", {}, idempotency_key="k").status == 200
        assert service.requests == 3


def test_a_new_connection_that_dies_is_not_tried_again():
    with client_of([close_unanswered], [OK]) as (service, client):
        with pytest.raises(OutcomeUnknown):
            client.post("/x", {}, idempotency_key="k")
        assert service.requests == 1


def test_errors_show_no_query_and_no_body():
    # HTP4
    with client_of([close_unanswered]) as (_, client):
        with pytest.raises(OutcomeUnknown) as caught:
            client.get("/x?phone=4915112345678")
        assert "4915112345678" not in str(caught.value)
