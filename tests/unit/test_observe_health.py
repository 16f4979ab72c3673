"""Live and ready, and the port that says so."""

import http.client
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ordermq.config.settings import ObserveSettings
from ordermq.errors import ConfigError
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.observe.http import HealthServer


def test_threads_that_are_watched_are_late_once_they_are_silent_for_longer_than_a_step_takes():
    silent_s = 0.0
    health = Health(stale_after_s=15.0)
    health.watch("workers", lambda: silent_s, 10.0)
    for silent_s, is_live in ((24.0, True), (26.0, False), (0.0, True)):  # noqa: B007 # the lambda reads it
        assert health.live().is_good is is_live
    silent_s = 30.0
    assert health.live().reasons == ("workers: no sign of life for 30 s",)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock) -> Health:
    return Health(stale_after_s=10.0, now=clock)


@pytest.fixture
def server(health) -> Iterator[HealthServer]:
    server = HealthServer(ObserveSettings(http_port=0), health)
    yield server
    server.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    status, _, body = ask(server, "GET", path)
    return status, body


def ask(server: HealthServer, method: str, path: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(server.address, timeout=5)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, response.headers, body


def test_a_process_lives_as_long_as_its_loop_beats(health, clock):
    clock.now_s += 10.0
    assert health.live().is_good
    clock.now_s += 0.1
    assert health.live().reasons == ("io: no sign of life for 10 s",)
    health.beat()
    assert health.live().is_good


def test_every_loop_that_beat_once_is_watched(health, clock):
    health.beat("relay")
    clock.now_s += 11.0
    health.beat()

    assert health.live().reasons == ("relay: no sign of life for 11 s",)


def test_a_process_is_ready_when_it_lives_and_every_part_can_work(health, clock):
    assert health.ready().reasons == ("io: starting",)
    health.set_ready(True)
    health.set_ready(False, "reconnecting", name="database")
    assert health.ready().reasons == ("database: reconnecting",)
    health.set_ready(True, name="database")
    assert health.ready().is_good
    clock.now_s += 11.0
    assert health.ready().reasons == ("io: no sign of life for 11 s",)


def test_healthz_and_readyz_answer_200_or_503_with_the_reasons(server, health, clock):
    assert get(server, "/healthz")[0] == 200
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (503, {"ok": False, "reasons": ["io: starting"]})

    health.set_ready(True)
    assert get(server, "/readyz?probe=1")[0] == 200

    clock.now_s += 11.0
    assert get(server, "/healthz")[0] == 503


def test_metrics_are_served_with_units_in_their_names_and_the_process_figures(server):
    metrics.settled.labels("test-http", "done").inc(3)

    status, body = get(server, "/metrics")

    assert status == 200
    assert 'ordermq_settled_total{outcome="done",queue="test-http"} 3.0' in body
    assert "process_resident_memory_bytes" in body
    assert "_created" not in body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/debug"])
def test_head_has_the_status_and_the_headers_of_get_and_no_body(server, path):
    status, headers, body = ask(server, "HEAD", path)
    assert (status, body) == (get(server, path)[0], "")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "*"])
def test_options_names_the_methods_there_are(server, path):
    status, headers, body = ask(server, "OPTIONS", path)
    assert (status, headers["Allow"], body) == (204, "GET, HEAD, OPTIONS", "")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_method_that_changes_things_is_refused_and_told_the_others(server, method):
    status, headers, _ = ask(server, method, "/healthz")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_other_paths_are_not_found(server):
    assert get(server, "/debug")[0] == 404


def test_a_failing_collector_costs_one_answer(server, monkeypatch):
    monkeypatch.setattr("ordermq.observe.http.REGISTRY", None)

    assert get(server, "/metrics") == (500, "see the log\n")
    assert get(server, "/healthz")[0] == 200


def test_clients_that_say_nothing_do_not_keep_others_out(server, health):
    host, port = server.address.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(10)]

    assert get(server, "/healthz")[0] == 200
    for each in idle:
        each.close()


def test_a_port_in_use_is_a_configuration_error_that_names_the_setting(server, health):
    port = int(server.address.rpartition(":")[2])

    with pytest.raises(
        ConfigError, match=f"observe.http_port = {port}: cannot listen there: Address already in use"
    ):
        HealthServer(ObserveSettings(http_port=port), health)


def test_a_host_that_is_not_ours_is_a_configuration_error(health):
    with pytest.raises(ConfigError, match=r"observe\.http_host = 192\.0\.2\.1"):
        HealthServer(ObserveSettings(http_host="192.0.2.1"), health)


def test_port_minus_one_serves_nothing(health):
    server = HealthServer(ObserveSettings(http_port=-1), health)

    assert server.address == ""
    server.close()


def test_the_port_can_be_on_ipv6_loopback(health):
    server = HealthServer(ObserveSettings(http_host="::1"), health)

    assert get(server, "/healthz")[0] == 200
    server.close()


def test_the_connection_has_exactly_one_state():
    metrics.connection_entered("test", "connecting", datetime(2026, 1, 1, tzinfo=UTC))
    metrics.connection_entered("test", "open", datetime(2026, 1, 2, tzinfo=UTC))

    def value(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, {"role": "test", **labels})

    states = {state: value("ordermq_connection_state", state=state) for state in metrics.CONNECTION_STATES}
    assert states == {"new": 0, "connecting": 0, "waiting": 0, "open": 1, "blocked": 0, "closed": 0}
    assert value("ordermq_connection_state_since_seconds") == 1_767_312_000.0


def test_every_metric_of_ours_is_named_and_described():
    for metric in metrics.REGISTRY.collect():
        if not metric.name.startswith(("process_", "python_")):
            assert metric.name.startswith("ordermq_")
            assert metric.documentation
