"""What systemd hears on its notify socket; the socket is real, as in a unit."""

import secrets
import socket
from collections.abc import Callable, Iterator

import pytest

from ordermq.config.environment import Supervisor, supervisor
from ordermq.observe.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path) -> Iterator[tuple[str, Callable[[], str]]]:
    """A notify socket: its NOTIFY_SOCKET and what reads the next datagram."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ordermq-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(5)
        yield name, lambda: sock.recv(4096).decode()


def test_every_state_is_sent_as_sd_notify_defines_it(listener):
    name, heard = listener
    notifier = Notifier(Supervisor(notify_socket=name))

    notifier.ready("consuming inventory")
    assert heard() == "READY=1\nSTATUS=consuming inventory"
    notifier.status("reconnecting")
    assert heard() == "STATUS=reconnecting"
    notifier.extend(2.5)
    assert heard() == "EXTEND_TIMEOUT_USEC=2500000"
    notifier.stopping()
    assert heard() == "STOPPING=1"


def test_a_status_cannot_carry_another_assignment(listener):
    name, heard = listener

    Notifier(Supervisor(notify_socket=name)).status("x\nREADY=1")

    assert heard() == "STATUS=x READY=1"


def test_the_watchdog_is_fed_four_times_an_interval_however_often_the_loop_turns(listener):
    name, heard = listener
    now_s = 100.0
    notifier = Notifier(Supervisor(notify_socket=name, watchdog_s=20.0), now=lambda: now_s)

    for _ in range(100):
        notifier.watchdog()
    now_s += 5.0
    notifier.watchdog()
    notifier.status("end")

    assert [heard(), heard(), heard()] == ["WATCHDOG=1", "WATCHDOG=1", "STATUS=end"]


def test_without_a_watchdog_none_is_fed(listener):
    name, heard = listener
    notifier = Notifier(Supervisor(notify_socket=name))

    notifier.watchdog()
    notifier.status("end")

    assert heard() == "STATUS=end"


def test_without_systemd_nothing_happens():
    notifier = Notifier(Supervisor())

    notifier.ready()
    notifier.watchdog()
    notifier.stopping()


def test_a_socket_that_is_gone_is_logged_and_raises_nothing(tmp_path, caplog):
    Notifier(Supervisor(notify_socket=str(tmp_path / "gone"))).ready()

    assert "systemd was not notified of READY=1" in caplog.text


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_interval_is_ours_only_if_it_names_no_other_process(environ, watchdog_s):
    assert supervisor(environ, pid=42).watchdog_s == watchdog_s
