"""Faults of the machine: a wrong clock, and too little of everything a process needs."""

import os
import re
import struct
import subprocess
from pathlib import Path
from typing import ClassVar

from ordermq.testing.stack.commands import program
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault, Skip
from tests.chaos.faults.database import fill

CLOCK = Path(__file__).parents[1] / "clock"
PIDS = Path("/sys/fs/cgroup/pids")
HOUR_S = 3600.0


class ClockWrong(Fault):
    name = "F26"
    title = "clocks an hour ahead and behind, jumping"
    expect = "nothing expires, no delay is negative: instants are the database's"
    alerts: ClassVar = frozenset({"OrdermqClockSkew"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
    }

    def prepare(self, arena: Arena) -> None:
        self._clocks = {
            member.name: arena.place.state / f"{member.name}.clock" for member in arena.fleet.members
        }
        for clock in self._clocks.values():
            clock.write_bytes(struct.pack("d", 0.0))

    def strike(self, arena: Arena) -> None:
        for member in arena.fleet.members:
            member.stop(40.0)
            member.start(PYTHONPATH=str(CLOCK), CHAOS_CLOCK=str(self._clocks[member.name]))
        arena.wait_ready()
        for _ in range(6):
            for clock in self._clocks.values():
                with clock.open("r+b", buffering=0) as file:  # in place: the processes have it mapped
                    file.write(struct.pack("d", arena.random.choice((-HOUR_S, HOUR_S))))
            arena.pause_between(0.5, 2.0)
        arena.healed()

    def verify(self, arena: Arena) -> None:
        hours = {hour for member in arena.fleet.members for hour in _hours(member.log)}
        arena.expect(len(hours) > 1, "no process had a wrong clock")


class TooLittle(Fault):
    name = "F28"
    title = "64 descriptors; no threads; /tmp, log full"
    expect = "a clear error or slower work; a log that cannot be written stops nobody"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
    }
    may_end_with = frozenset({70, 75})

    def check(self) -> None:
        if os.geteuid() != 0 or not PIDS.is_dir():
            raise Skip("needs root and the pids controller of cgroups")

    def strike(self, arena: Arena) -> None:
        self._without_threads(arena)
        full = arena.place.state / "full"
        full.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "ordermq-chaos", str(full)], check=True)
        arena.ends.callback(subprocess.run, ["umount", "--lazy", str(full)], check=False)
        fill(full / "ballast")
        limited = {
            "payment": [
                "prlimit",
                "--nofile=64",
                program("ordermq-consumer"),
                "--queue",
                "payment",
                "--threads",
                "40",
            ],
            "notify": ["sh", "-c", f"exec {program('ordermq-consumer')} --queue notify >/dev/full 2>&1"],
            "shipping": ["env", f"TMPDIR={full}", program("ordermq-consumer"), "--queue", "shipping"],
        }
        for queue, argv in limited.items():
            arena.fleet[queue].stop(40.0)
            found = subprocess.run(["which", argv[0]], capture_output=True, text=True, check=True)
            arena.fleet.add(f"{queue}-poor", found.stdout.strip(), *argv[1:]).start()
        arena.pause(3.0)
        arena.wait_finished(200)
        arena.healed()

    @staticmethod
    def _without_threads(arena: Arena) -> None:
        """It cannot start its workers: it must end and say why."""
        group = PIDS / f"{arena.name}"
        group.mkdir()
        try:
            (group / "pids.max").write_text("6")
            consumer = f"{program('ordermq-consumer')} --queue points:8 --threads 32"
            command = f"echo $$ > {group}/cgroup.procs && exec {consumer}"
            done = subprocess.run(
                ["sh", "-c", command], env=arena.env, capture_output=True, timeout=60, check=False
            )
        finally:
            group.rmdir()
        arena.expect(done.returncode in (70, 75), f"without threads it ended with {done.returncode}")
        arena.expect(b"thread" in done.stderr, f"without threads it said {done.stderr[-300:]!r}")


def _hours(log: Path) -> list[str]:
    return re.findall(r'"@timestamp": "([^":]+)', log.read_text(errors="replace"))


FAULTS = (ClockWrong(), TooLittle())
