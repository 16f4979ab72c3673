"""From exec to the first message handled, of a worker that is started a second time; and ``--help``.

The message waits in the queue, and what a first start declares on the broker is there.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.case import Case, Contender, Wrong, at_most
from benchmarks.gated import HANDLERS, gated
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from ordermq.testing.stack.commands import program

HELPS = 5
ACK_S = 1.0  # for what was handled to be acked, or it would come again

Send = Callable[[Processes], None]


def _first_handled(
    processes: Processes, name: str, argv: Sequence[str], send: Send, **start: object
) -> float:
    """Start it twice, each time with a message in its queue; return what the second start took."""
    file = processes.folder / "handled"
    took_s = 0.0
    for _ in range(2):
        send(processes)
        file.unlink(missing_ok=True)
        began_s = time.time()
        process = processes.start(
            name, argv, gate="", file=str(file), is_lasting=False, **start  # type: ignore[arg-type] # passed on
        )  # fmt: skip
        processes.wait(file.exists, 120.0, f"{name} has handled its first message", every_s=0.01)
        took_s = float(file.read_text()) - began_s
        if process.pid is None:
            raise Wrong(f"{name} ended with {process.exit_code}:\n{process.log_tail()}")
        time.sleep(ACK_S)
        processes.kill(process)
    return took_s


def _ordermq(ground: Ground, _n: int) -> Mapping[str, float]:
    with gated(ground) as run:

        def send(_processes: Processes) -> None:
            run.fill("first", 1, name=f"at-{time.time_ns()}")

        argv = [program("ordermq-consumer"), "--queue", "first"]
        return {"": _first_handled(run.processes, "ordermq-consumer", argv, send, env=HANDLERS)}


def _peer_of(peer: str, argv: Sequence[str]) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, _n: int) -> Mapping[str, float]:
        def send(processes: Processes) -> None:
            processes.run("send_first", peer=peer, file="")

        with Processes(ground) as processes:
            return {"": _first_handled(processes, peer, argv, send)}

    return sample


def _seconds_of(*argv: str) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(_ground: Ground, _n: int) -> Mapping[str, float]:
        took_s = []
        for _ in range(HELPS):
            began_s = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True)
            took_s.append(time.perf_counter() - began_s)
        return {"": sorted(took_s)[HELPS // 2]}

    return sample


CASE = Case(
    name="start",
    what="from exec to the first message handled; and the command's --help",
    unit="s",
    n=1,
    smoke_n=1,
    contenders=[
        Contender("ordermq", _ordermq, "ordermq-consumer, as shipped: checks tables and queue, 4 threads"),
        Contender(
            "celery",
            _peer_of(
                "celery",
                [
                    sys.executable, "-m", "celery", "-A", "benchmarks.programs.celery_first", "worker",
                    "-P", "threads", "-c", "4", "-l", "WARNING",
                    "--without-gossip", "--without-mingle", "--without-heartbeat",
                ],
            ),
            "worker -P threads -c 4, without gossip, mingle and heartbeat; quorum queue",
        ),
        Contender(
            "dramatiq",
            _peer_of(
                "dramatiq",
                [
                    sys.executable, "-m", "dramatiq", "benchmarks.programs.dramatiq_first",
                    "--processes", "1", "--threads", "4",
                ],
            ),
            "--processes 1 --threads 4; quorum queue",
        ),
        Contender("ordermq_help", _seconds_of(program("ordermq"), "--help"), f"median of {HELPS}"),
        Contender("import_click", _seconds_of(sys.executable, "-c", "import click"), f"median of {HELPS}"),
    ],
    targets=[
        at_most(0.5, "ordermq", "celery", "dramatiq"),
        at_most(2, "ordermq_help", "import_click"),
    ],
)  # fmt: skip
