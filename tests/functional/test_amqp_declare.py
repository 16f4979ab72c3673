"""Topology on a real broker: applied, repeated, compared, and never touched by looking."""

import math
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from ordermq.amqp import ConnectionManager, apply, management, verify, verify_by_management
from ordermq.cli.processes import topology_check
from ordermq.cli.processes.topology_check import checking_topology
from ordermq.config.settings import Secret, Settings, TopologySettings
from ordermq.errors import (
    AccessRefused,
    BrokerError,
    ConfigError,
    QueueMissing,
    TopologyConflict,
    Unreachable,
)
from ordermq.observe import metrics
from ordermq.testing import wait_until
from ordermq.topology import BindingSpec, EventStream, ExchangeSpec, QueueSpec, Topology, build

WANTED = build("orders", ["inventory", "payment"], events=EventStream())


@pytest.fixture
def connection(broker_settings):
    manager = ConnectionManager(broker_settings, name="admin")
    manager.connect(threading.Event())
    yield manager
    manager.close()


@pytest.fixture
def management_url(ordermq_stack):
    return ordermq_stack.broker.management_url


def test_applying_creates_everything_and_applying_again_nothing(connection):
    first = apply(connection, WANTED)
    second = apply(connection, WANTED)

    created = [each.name for each in first if each.created]
    assert created == [each.name for each in (*WANTED.exchanges, *WANTED.queues)]
    assert [each.name for each in second if each.created] == []
    assert "orders -[payment]-> orders.payment" in [each.name for each in second]


def test_a_topology_that_was_applied_has_no_differences(connection, management_url):
    apply(connection, WANTED)

    assert verify(connection, WANTED, management_url=management_url).differences == ()
    assert verify(connection, WANTED).differences == ()


def test_without_the_management_api_verify_says_what_it_did_not_check(connection):
    apply(connection, WANTED)

    assert "bindings" in verify(connection, WANTED).not_checked[0]


@pytest.mark.parametrize("by_management", [True, False])
def test_looking_finds_everything_missing_and_creates_nothing(connection, management_url, by_management):
    url = management_url if by_management else ""

    for _ in range(2):
        differences = verify(connection, WANTED, management_url=url).differences
        assert "exchange orders: missing" in differences
        assert "queue orders.payment: missing" in differences


@pytest.mark.parametrize("by_management", [True, False])
def test_an_argument_that_differs_is_named_with_both_values(connection, management_url, by_management):
    limited = dict(WANTED.queues[0].arguments, **{"x-delivery-limit": 20})
    apply(connection, replace(WANTED, queues=(QueueSpec("orders.inventory", limited), *WANTED.queues[1:])))

    found = verify(connection, WANTED, management_url=management_url if by_management else "")

    assert found.differences == ("queue orders.inventory: x-delivery-limit: wanted 1000000, found 20",)


@pytest.mark.parametrize("by_management", [True, False])
def test_an_exchange_of_another_type_is_a_difference(connection, management_url, by_management):
    apply(connection, Topology(exchanges=(ExchangeSpec("orders", "topic"),)))
    wanted = Topology(exchanges=(ExchangeSpec("orders", "direct"),))

    found = verify(connection, wanted, management_url=management_url if by_management else "")

    assert found.differences == ("exchange orders: type: wanted direct, found topic",)


def test_a_lost_binding_is_found_through_the_management_api(connection, management_url):
    apply(connection, replace(WANTED, bindings=WANTED.bindings[1:]))

    found = verify(connection, WANTED, management_url=management_url)

    assert found.differences == ("binding orders -[inventory]-> orders.inventory: missing",)


LOSES = {
    "queues": [
        {"expires": 300_000},
        {"message-ttl": 300_000},
        {"delivery-limit": 20},
        {"max-length": 5, "overflow": "drop-head"},
        {"dead-letter-exchange": "amq.fanout"},
        {"dead-letter-routing-key": "elsewhere"},
    ],
    "exchanges": [{"alternate-exchange": "amq.fanout"}],
}


def put_policy(
    vhost, name, definition, *, apply_to="queues", kind="policies", pattern=r"^orders(\.payment)?$"
):
    body = {"pattern": pattern, "definition": definition, "apply-to": apply_to}
    vhost.broker.api("PUT", f"{kind}/{vhost.name}/{name}", body)


@pytest.mark.parametrize(("apply_to", "definition"), [(to, each) for to in LOSES for each in LOSES[to]])
def test_a_policy_that_takes_messages_is_a_difference(
    connection, vhost, management_url, apply_to, definition
):
    apply(connection, WANTED)
    put_policy(vhost, "short", definition, apply_to=apply_to)

    differences = verify(connection, WANTED, management_url=management_url).differences

    [(key, value)] = list(definition.items())[-1:]
    name = "exchange orders" if apply_to == "exchanges" else "queue orders.payment"
    (line,) = differences
    assert line.startswith(f"{name}: policy short: {key}: wanted ")
    assert line.endswith(f", found {value}")


def test_an_operator_policy_counts_beside_the_policy_and_is_named(connection, vhost, management_url):
    apply(connection, WANTED)
    put_policy(vhost, "short", {"message-ttl": 300_000})
    put_policy(vhost, "cap", {"expires": 300_000}, kind="operator-policies")

    assert verify(connection, WANTED, management_url=management_url).differences == (
        "queue orders.payment: policy short: message-ttl: wanted none, found 300000",
        "queue orders.payment: operator policy cap: expires: wanted none, found 300000",
    )


def test_a_policy_that_takes_nothing_or_is_not_applied_is_no_difference(connection, vhost, management_url):
    apply(connection, WANTED)
    put_policy(vhost, "room", {"max-length": 5, "delivery-limit": 1_000_000})
    put_policy(vhost, "other", {"expires": 300_000}, pattern="^another")
    assert verify(connection, WANTED, management_url=management_url).differences == ()


def test_a_length_limit_of_the_queue_of_dead_letters_is_a_difference(connection, vhost, management_url):
    apply(connection, WANTED)
    put_policy(vhost, "room", {"max-length": 5}, pattern="^orders[.]dead")

    assert verify(connection, WANTED, management_url=management_url).differences == (
        "queue orders.dead: policy room: max-length: wanted none, found 5",
    )


def test_the_management_tag_alone_shows_the_policies(ordermq_stack, vhost, connection, management_url):
    apply(connection, WANTED)
    put_policy(vhost, "short", {"message-ttl": 300_000})
    ordermq_stack.broker.add_user("looker", "secret", "management")
    ordermq_stack.broker.set_permissions("looker", vhost.name)
    settings = replace(vhost.settings, username="looker", password=Secret("secret"))
    try:
        assert "policy short" in verify_by_management(settings, WANTED, management_url).differences[0]
    finally:
        ordermq_stack.broker.delete_user("looker")


class Recorder(BaseHTTPRequestHandler):
    """Answers every request with a redirect to ``elsewhere`` and notes what it was asked.

    The first answers have the statuses of ``first``, and no body.
    """

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        if self.server.first:
            self.send_response(self.server.first.pop(0))
            self.end_headers()
            return
        if not self.server.elsewhere:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")
            return
        self.send_response(302)
        self.send_header("Location", f"{self.server.elsewhere}{self.path}")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        server.asked, server.elsewhere, server.first = [], "", []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def test_the_password_goes_to_no_proxy_of_the_environment(connection, management_url, recorder, monkeypatch):
    apply(connection, WANTED)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{recorder.server_port}")

    assert verify(connection, WANTED, management_url=management_url).differences == ()
    assert recorder.asked == []


def test_the_password_follows_no_redirect(connection, management_url, recorder):
    recorder.elsewhere = management_url
    apply(connection, WANTED)

    with pytest.raises(BrokerError, match="302, a redirect, which is not followed"):
        verify(connection, WANTED, management_url=f"http://127.0.0.1:{recorder.server_port}")
    assert len(recorder.asked) == 1


def test_an_api_that_has_just_started_and_answers_500_is_asked_again(broker_settings, recorder):
    recorder.first = [500, 500, 503]

    found = verify_by_management(broker_settings, WANTED, f"http://127.0.0.1:{recorder.server_port}")

    assert "queue orders.payment: missing" in found.differences
    assert len(recorder.asked) == 3 + 5


def test_an_api_that_goes_on_answering_500_is_named(broker_settings, recorder, monkeypatch):
    monkeypatch.setattr(management, "_STARTING_S", 0.1)
    recorder.first = [500] * 100

    with pytest.raises(BrokerError, match="answered 500 when asked for exchanges"):
        verify_by_management(broker_settings, WANTED, f"http://127.0.0.1:{recorder.server_port}")


def test_a_check_that_goes_on_says_what_came_and_what_went_once_each(
    connection, vhost, management_url, monkeypatch, caplog
):
    # Given a consumer's part of the topology, compared again and again
    settings = Settings(broker=connection.settings, topology=TopologySettings(management_url=management_url))
    wanted = WANTED.of_queue("orders.payment")
    apply(connection, WANTED)
    with checking_topology(SimpleNamespace(settings=settings), wanted, every_s=0.05):
        wait_until(lambda: shown_differences() == 0, 10.0, what="a first comparison")
        # When policies of this queue and of another one come and go
        for queue in ("payment", "inventory"):
            definition = {"pattern": f"^orders[.]{queue}$", "definition": {"expires": 300_000}}
            vhost.broker.api("PUT", f"policies/{vhost.name}/{queue}", definition | {"apply-to": "queues"})
        wait_until(lambda: shown_differences() == 1, 10.0, what="the policy in the gauge")
        vhost.broker.api("DELETE", f"policies/{vhost.name}/payment")
        wait_until(lambda: shown_differences() == 0, 10.0, what="its end in the gauge")
        # And the API does not let itself be asked any more
        monkeypatch.setattr(topology_check, "verify_by_management", refuse)
        wait_until(lambda: math.isnan(shown_differences()), 10.0, what="that nothing is known")
    # Then each was said once
    line = "queue orders.payment: policy payment: expires: wanted none, found 300000"
    assert [each.getMessage() for each in caplog.records if each.name == topology_check.__name__] == [
        f"the topology is not as it should be: {line}; see 'ordermq topology verify'",
        f"the topology is as it should be again, as to this: {line}",
        "the topology is not checked: no such page",
    ]


def refuse(*_args, **_options):
    raise BrokerError("no such page")


def shown_differences():
    return metrics.REGISTRY.get_sample_value("ordermq_topology_differences")


def test_applying_over_a_different_queue_names_it_and_leaves_it_as_it_is(connection):
    apply(connection, Topology(queues=(QueueSpec("orders.payment", {"x-queue-type": "classic"}),)))

    with pytest.raises(
        TopologyConflict,
        match=r"queue orders.payment: x-dead-letter-exchange: wanted orders.dead, found none",
    ):
        apply(connection, WANTED)

    assert any("orders.payment" in line for line in verify(connection, WANTED).differences)
    apply(connection, Topology(queues=(QueueSpec("orders.payment", {"x-queue-type": "classic"}),)))


def test_a_binding_to_a_queue_that_is_not_there_says_so(connection):
    with pytest.raises(QueueMissing, match="no queue 'nowhere'"):
        apply(connection, Topology(bindings=(BindingSpec("amq.direct", "nowhere", "k"),)))


def test_a_user_without_configure_permission_cannot_apply(ordermq_stack, broker_settings):
    ordermq_stack.broker.add_user("runner", "secret")
    ordermq_stack.broker.set_permissions("runner", broker_settings.vhost, configure="^$")
    manager = ConnectionManager(
        replace(broker_settings, username="runner", password=Secret("secret")), name="runner"
    )
    try:
        manager.connect(threading.Event())
        with pytest.raises(AccessRefused, match="403"):
            apply(manager, WANTED)
    finally:
        manager.close()
        ordermq_stack.broker.delete_user("runner")


def test_a_user_without_the_management_tag_is_told_so(ordermq_stack, broker_settings, management_url):
    ordermq_stack.broker.add_user("runner", "secret")
    ordermq_stack.broker.set_permissions("runner", broker_settings.vhost)
    manager = ConnectionManager(
        replace(broker_settings, username="runner", password=Secret("secret")), name="runner"
    )
    try:
        manager.connect(threading.Event())
        with pytest.raises(AccessRefused, match="management tag"):
            verify(manager, WANTED, management_url=management_url)
    finally:
        manager.close()
        ordermq_stack.broker.delete_user("runner")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "http://user:secret@127.0.0.1",
        "http://rabbit.example:15672",
        "rabbit",
        "http://127.0.0.1:99999",
    ],
)
def test_a_management_url_that_would_show_the_password_is_refused(connection, url):
    with pytest.raises(ConfigError, match="management_url") as refused:
        verify(connection, WANTED, management_url=url)

    assert "secret" not in str(refused.value)


def test_a_management_api_that_does_not_answer_is_unreachable(connection):
    with pytest.raises(Unreachable):
        verify(connection, WANTED, management_url="http://127.0.0.1:1")
