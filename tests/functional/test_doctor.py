"""``ordermq doctor``: what a person should see to before it wakes somebody."""

import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from ordermq.cli.doctor import broker as doctor_broker
from ordermq.cli.doctor import tls as doctor_tls
from ordermq.cli.doctor.checks import parse_units
from ordermq.config.tls import TlsFiles
from ordermq.testing import wait_until
from tests.functional.test_amqp_tls import issue
from tests.support.commands import Shop
from tests.support.pipeline import QUEUES
from tests.support.rabbit import Rabbit

UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    url = ordermq_stack.broker.management_url
    shop = Shop(ordermq_stack, vhost, database, tmp_path, ORDERMQ_TOPOLOGY_MANAGEMENT_URL=url)
    yield shop
    shop.close()


def findings(shop, code, **env):
    found = shop.run("ordermq", "doctor", "--json", **env)
    assert found.returncode == code, (found.stdout, found.stderr)
    return [json.loads(line) for line in found.stdout.splitlines()]


def levels(found):
    return {(each["area"], each["check"]): each["level"] for each in found}


def test_a_system_that_runs_as_it_should_has_no_failure_and_one_that_does_not_run_says_so(shop):
    idle = levels(findings(shop, 1))
    assert (idle["processes", "relay"], idle["processes", "consumers"]) == ("fail", "warn")
    failed = {check for (_, check), level in idle.items() if level == "fail"}
    assert failed - {"relay"} <= set(UNSAFE)
    for area, check in (
        ("broker", "connection"), ("broker", "topology"), ("broker", "alarms"), ("broker", "permissions"),
        ("database", "version"), ("database", "role"), ("database", "migrations"), ("database", "clock"),
        ("database", "notification queue"), ("database", "max_connections"), ("machine", "deadlines"),
    ):  # fmt: skip
        assert idle[area, check] in ("ok", "warn"), (area, check)

    shop.start("ordermq-relay")
    for queue in (*QUEUES, "dead"):
        shop.start("ordermq-consumer", "--queue", queue)
    wait_until(
        lambda: len(shop.json("ordermq", "status")["processes"]) == len(QUEUES) + 2, 60, what="all have begun"
    )
    running = levels(findings(shop, 1 if is_unsafe(idle) else 0))
    assert (running["processes", "relay"], running["processes", "seen"]) == ("ok", "ok")
    assert running["processes", "versions"] == "ok"


def is_unsafe(found):
    """Whether the stack has a setting off that an order must have on, as a stack for tests may."""
    return any(found["database", each] == "fail" for each in UNSAFE)


def test_what_is_wrong_with_broker_and_database_is_named_with_what_to_do(shop, vhost, database):
    rabbit = Rabbit(vhost.broker, vhost.settings)
    rabbit.delete_queue("orders.points")
    rabbit.close()
    database.sql("DELETE FROM ordermq.migrations WHERE scope = 'shop' AND number = 1")
    found = {each["check"]: each for each in findings(shop, 1) if each["level"] == "fail"}
    assert "orders.points" in found["topology"]["text"]
    assert found["topology"]["todo"].startswith("ordermq topology apply")
    assert "0001 is missing" in found["migrations"]["text"]
    screen = shop.run("ordermq", "doctor")
    assert (screen.returncode, "-> ordermq topology apply" in screen.stdout) == (1, True)


def test_what_cannot_be_learnt_is_said_and_fails_nothing(shop):
    found = findings(shop, 1, ORDERMQ_TOPOLOGY_MANAGEMENT_URL="")
    management = next(each for each in found if each["check"] == "management")
    assert (management["level"], management["todo"]) == ("unknown", "set topology.management_url")
    away = levels(findings(shop, 1, ORDERMQ_BROKER_HOSTS="127.0.0.1:1", ORDERMQ_DATABASE_PORT="1"))
    assert (away["broker", "connection"], away["database", "connection"]) == ("fail", "fail")


@pytest.mark.parametrize(
    ("version", "level"),
    [("3.9.1", "fail"), ("3.10.8", "warn"), ("3.13.0", "ok"), ("4.3.1", "ok"), ("", "unknown")],
)
def test_a_version_is_judged_by_what_works_and_what_to_install(version, level):
    assert doctor_broker._version(version).level == level


def test_the_units_deadlines_are_read_as_systemd_writes_them():
    shown = "Id=ordermq-relay.service\nTimeoutStopUSec=1min 30s\n\n"
    shown += "TimeoutStopUSec=infinity\nId=ordermq-x.service\n"
    assert parse_units(shown) == {"ordermq-relay.service": 90.0, "ordermq-x.service": float("inf")}
    assert parse_units("") == {}


@pytest.mark.parametrize("is_postgresql", [False, True])
def test_a_certificate_s_end_is_read_from_the_server_and_an_unknown_authority_fails(tmp_path, is_postgresql):
    issue(tmp_path, "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # for 30 days
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve():
            for _ in range(2):
                accepted, _ = listener.accept()
                with accepted, suppress(OSError):
                    if is_postgresql:
                        accepted.recv(8)
                        accepted.sendall(b"S")
                    with context.wrap_socket(accepted, server_side=True) as encrypted:
                        encrypted.recv(1)

        served, port = pool.submit(serve), listener.getsockname()[1]

        def certificate(ca_file):
            server = ("broker", "localhost", port, TlsFiles("broker", ca_file), is_postgresql)
            return doctor_tls._certificate(doctor_tls._Server(*server))

        known = certificate(str(tmp_path / "ca.pem"))
        assert (known.level, known.text[:21]) == ("ok", "runs out in 29 days, ")
        foreign = certificate("")
        assert (foreign.level, foreign.text[:9]) == ("fail", "not valid")
        served.result(10)
    refused = certificate("")
    assert refused.level == "unknown"
