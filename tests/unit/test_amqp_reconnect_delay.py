"""How long an attempt to connect waits for the next one."""

from random import Random

import pytest

from ordermq.amqp.reconnect_delay import ReconnectDelay
from ordermq.config.settings import BrokerSettings
from ordermq.errors import (
    AuthenticationRefused,
    ConfigError,
    ConnectionReset,
    TooManyConnections,
    Unreachable,
    VhostMissing,
)

SETTINGS = BrokerSettings()
LONG_AGO = 40  # failures


def delays(met, failures, count=2000):
    return [ReconnectDelay(SETTINGS, Random(seed)).delay_s(met, failures) for seed in range(count)]


@pytest.mark.parametrize("met", [None, Unreachable("nobody"), ConnectionReset("gone")])
def test_however_long_a_broker_was_away_the_next_look_is_soon(met):
    assert max(delays(met, LONG_AGO)) <= SETTINGS.unreachable_cap_s
    assert SETTINGS.unreachable_cap_s <= 5.0


@pytest.mark.parametrize(
    "met",
    [AuthenticationRefused("no"), VhostMissing("no"), ConfigError("no file"), TooManyConnections("full")],
)
def test_what_was_refused_is_asked_for_rarely(met):
    found = delays(met, 0)
    assert min(found) >= SETTINGS.reconnect_cap_s / 2
    assert max(found) <= SETTINGS.reconnect_cap_s


@pytest.mark.parametrize(
    ("met", "failures"),
    [(ConnectionReset("restarted"), 0), (Unreachable("away"), LONG_AGO), (ConfigError("no"), 3)],
)
def test_clients_that_lost_one_broker_do_not_return_together(met, failures):
    found = delays(met, failures)
    slice_s = (max(found) - min(found)) / 10
    busiest = max(sum(start <= each < start + slice_s for each in found) for start in found)
    assert busiest < len(found) / 5


def test_clients_of_a_broker_that_comes_back_are_spread_over_the_whole_backoff():
    back_s, arrivals = 60.0, []
    for seed in range(500):
        reconnect_delay, now_s, failures = ReconnectDelay(SETTINGS, Random(seed)), 0.0, 0
        while now_s < back_s:
            now_s += reconnect_delay.delay_s(Unreachable("away"), failures)
            failures += 1
        arrivals.append(now_s - back_s)
    assert max(arrivals) <= SETTINGS.unreachable_cap_s
    third_s = SETTINGS.unreachable_cap_s / 3
    thirds = [sum(n * third_s <= each < (n + 1) * third_s for each in arrivals) for n in range(3)]
    assert max(thirds) < 0.7 * len(arrivals)
    assert min(thirds) > 0
