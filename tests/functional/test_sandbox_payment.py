"""The payment gateway of the sandbox, over HTTP as the shop uses it."""

import http.client
import json
import threading

import pytest


class Client:
    """Makes requests and returns (status, body), or None when the answer does not come."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def request(self, method, path, body=None, key=None, timeout_s=10.0):
        connection = http.client.HTTPConnection("127.0.0.1", self._sandbox.port, timeout=timeout_s)
        try:
            content = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            connection.request(method, path, content, {"Idempotency-Key": key} if key else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (TimeoutError, http.client.RemoteDisconnected):
            return None
        finally:
            connection.close()

    def capture(self, key="k1", token="tok_4242", amount_minor=1250, timeout_s=10.0):  # noqa: S107 # no secret
        body = {
            "payment_id": key,
            "order_id": f"order of {key}",
            "amount_minor": amount_minor,
            "currency": "EUR",
            "card_token": token,
        }
        return self.request("POST", "/payment/v1/captures", body, key, timeout_s)

    def refund(self, capture_id, key="r1", amount_minor=1250, currency="EUR"):
        body = {"capture_id": capture_id, "amount_minor": amount_minor, "currency": currency}
        return self.request("POST", "/payment/v1/refunds", body, key)

    def by_key(self, key="k1"):
        return self.request("GET", f"/payment/v1/captures/by-key/{key}")


@pytest.fixture
def client(sandbox):
    return Client(sandbox)


def test_a_capture_is_in_the_ledger_once_however_often_its_key_is_sent(client, sandbox):
    first = client.capture()
    assert first[0] == 201
    assert first[1]["status"] == "captured"
    assert client.capture() == first
    assert client.by_key() == (200, first[1])
    (entry,) = sandbox.ledger("payment")
    assert (entry["n"], entry["kind"], entry["amount_minor"]) == (1, "capture", 1250)
    assert entry["capture_id"] == first[1]["capture_id"]


def test_one_key_sent_by_many_at_once_captures_once(client, sandbox):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.capture())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert all(answer == answers[0] for answer in answers)
    assert len(sandbox.ledger("payment")) == 1


def test_a_key_used_again_for_something_else_is_refused(client):
    client.capture()
    status, body = client.capture(amount_minor=1)
    assert (status, body["reason"]) == (409, "this Idempotency-Key was used for another capture")


def test_0002_is_declined_and_stays_declined(client, sandbox):
    declined = client.capture(token="tok_0002")
    assert (declined[0], declined[1]["reason"]) == (402, "insufficient funds")
    assert client.capture(token="tok_0002") == declined
    assert client.by_key() == (200, declined[1])
    assert sandbox.ledger("payment") == []


def test_0003_charges_without_an_answer_and_the_gateway_knows(client, sandbox):
    assert client.capture(token="tok_0003", timeout_s=0.3) is None
    status, found = client.by_key()
    assert (status, found["status"]) == (200, "captured")
    assert client.capture(token="tok_0003") == (201, found)
    assert len(sandbox.ledger("payment")) == 1


def test_0004_neither_charges_nor_answers_the_first_time(client, sandbox):
    assert client.capture(token="tok_0004", timeout_s=0.3) is None
    assert client.by_key()[0] == 404
    assert sandbox.ledger("payment") == []
    assert client.capture(token="tok_0004")[0] == 201


def test_a_request_without_answer_is_closed_after_the_hold(client, sandbox):
    sandbox.behave("payment", hold_s=0.1)
    assert client.capture(token="tok_0003", timeout_s=30.0) is None


def test_0005_fails_once_and_0006_always(client):
    assert client.capture(token="tok_0005")[0] == 503
    assert client.capture(token="tok_0005")[0] == 201
    assert [client.capture("k2", token="tok_0006")[0] for _ in range(3)] == [503, 503, 503]
    assert client.by_key("k2")[0] == 404


def test_what_happened_is_remembered_after_sigkill(client, sandbox):
    captured = client.capture()
    assert client.capture("k3", token="tok_0003", timeout_s=0.3) is None
    assert client.capture("k4", token="tok_0004", timeout_s=0.3) is None
    sandbox.behave("payment", error=0.25)
    before = sandbox.ledger("payment")
    sandbox.kill()
    sandbox.start()
    assert sandbox.ledger("payment") == before
    assert client.request("GET", "/payment/v1/behaviour")[1]["error"] == 0.25
    sandbox.behave("payment")
    assert client.capture() == captured
    assert client.capture("k4", token="tok_0004")[0] == 201


def test_a_line_cut_off_by_a_crash_is_dropped_and_the_next_is_whole(client, sandbox):
    client.capture("k1")
    sandbox.kill()
    journal = sandbox.data / "payment.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"kind":"capture","n":2,"capt')
    sandbox.start()
    client.capture("k2")
    sandbox.restart()
    assert [entry["n"] for entry in sandbox.ledger("payment")] == [1, 2]


def test_a_refund_is_made_once_and_never_exceeds_the_capture(client, sandbox):
    capture_id = client.capture()[1]["capture_id"]
    first = client.refund(capture_id, amount_minor=1000)
    assert (first[0], first[1]["status"]) == (201, "refunded")
    assert client.refund(capture_id, amount_minor=1000) == first
    assert client.refund(capture_id, "r2", amount_minor=251)[0] == 409
    assert client.refund(capture_id, "r3", amount_minor=250)[0] == 201
    assert client.refund(capture_id, "r4", amount_minor=1, currency="BRL")[0] == 409
    assert client.refund("cap_none", "r5")[0] == 404
    assert [entry["kind"] for entry in sandbox.ledger("payment")] == ["capture", "refund", "refund"]
    assert client.request("GET", "/payment/v1/refunds/by-key/r1") == (200, first[1])


def test_rates_make_a_repeatable_share_of_requests_fail(client, sandbox):
    sandbox.behave("payment", decline=0.3, error=0.2, seed=7)
    first = [client.capture(f"k{n}")[0] for n in range(200)]
    assert 20 < first.count(503) < 65
    assert 25 < first.count(402) < 80
    # The same key tried again meets its next draw, so that nothing fails for ever.
    while 503 in first:
        first = [client.capture(f"k{n}")[0] for n in range(200)]
    assert set(first) == {201, 402}
    assert len(sandbox.ledger("payment")) == first.count(201)


def test_latency_delays_the_answer(client, sandbox):
    sandbox.behave("payment", latency_ms=400)
    assert client.capture(timeout_s=0.1) is None
    assert client.capture()[0] == 201


def test_the_ledger_is_read_in_pages_and_whole(client, sandbox):
    for n in range(7):
        client.capture(f"k{n}")
    assert [entry["n"] for entry in sandbox.ledger("payment")] == [1, 2, 3, 4, 5, 6, 7]
    page = sandbox.call("GET", "/payment/v1/ledger?after=2&limit=3")
    assert [entry["n"] for entry in page] == [3, 4, 5]


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        ("/payment/v1/captures", b"{", "k", 400),
        ("/payment/v1/captures", {"payment_id": "p"}, "k", 400),
        ("/payment/v1/refunds", {"capture_id": "c", "amount_minor": -1, "currency": "EUR"}, "k", 400),
        ("/payment/v1/refunds", {"capture_id": "c", "amount_minor": 1, "currency": "euro"}, "k", 400),
        ("/payment/v1/refunds", {"capture_id": "c", "amount_minor": 1, "currency": "EUR"}, None, 400),
        ("/payment/v1/behaviour", {"error": 2}, None, 400),
        ("/payment/v1/behaviour", {"eror": 1}, None, 400),
        ("/payment/v1/nothing", {}, "k", 404),
        ("/nothing", {}, "k", 404),
        ("/payment/v1/captures", b" " * 70_000, "k", 413),
    ],
)
def test_bad_input_is_refused_with_a_reason(sandbox, path, body, key, status):
    answered, said = Client(sandbox).request("POST", path, body, key)
    assert answered == status
    assert said["reason"]
    assert sandbox.ledger("payment") == []


def test_one_connection_serves_many_requests(sandbox):
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.connect()
    local = connection.sock.getsockname()
    for path in ("/healthz", "/payment/v1/ledger", "/payment/v1/captures/by-key/none", "/healthz"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock.getsockname() == local
    connection.close()
