"""Services, and how signals reach them."""

import signal
import subprocess
import sys

import pytest

from ordermq.lifecycle import ThreadService
from ordermq.testing import wait_until

PROGRAM = """
import sys
from ordermq.lifecycle import ThreadService, hold_signals, run_until_signalled

class Idle(ThreadService):
    def main(self):
        print("started", flush=True)
        self.stopping.wait()
        if sys.argv[1] == "stubborn":
            import time
            time.sleep(60)

hold_signals()
run_until_signalled(Idle("idle"))
"""


class Idle(ThreadService):
    def main(self):
        self.stopping.wait(5)


class Failing(ThreadService):
    def main(self):
        raise RuntimeError("as asked")


@pytest.fixture
def start():
    started = []

    def start(kind="willing"):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"started\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_stop_before_start_and_twice_is_harmless():
    service = Idle("idle")
    service.stop()
    service.stop()
    assert service.join(0) is True


def test_a_stopped_service_joins():
    service = Idle("idle")
    service.start()
    assert service.join(0) is False
    service.stop()
    assert service.join(2) is True


def test_what_ends_a_service_is_kept_for_its_owner():
    service = Failing("failing")
    service.start()
    assert service.join(2) is True
    assert isinstance(service.failure, RuntimeError)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_asks_for_something_else_stops_nothing(start, number):
    process = start()
    for _ in range(2):
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_process_with_exit_code_0(start, number):
    process = start()
    process.send_signal(number)
    assert process.wait(5) == 0


def test_a_second_signal_ends_a_process_that_does_not_stop(start):
    process = start("stubborn")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 128 + signal.SIGTERM


def test_a_process_that_was_frozen_goes_on_and_still_hears_a_signal(start):
    process = start()
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state(process) == "T", 5)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.6)  # longer than one wait for a signal
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.6)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def state(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
