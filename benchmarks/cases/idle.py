"""What a process costs that has nothing to do; ``n`` is for how many seconds it is watched."""

import http.client
import time
from collections.abc import Callable, Mapping
from contextlib import closing

from benchmarks.case import Case, Contender, Wrong, below
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from ordermq.testing.stack.ports import free_ports

SETTLE_S = 2.0

_SEEN = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'"


def _sample_of(*argv: str) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        for command in (("db", "migrate"), ("topology", "apply")):
            ground.command("ordermq", *command)
        port = free_ports(1)[0]
        with Processes(ground) as processes:
            process = processes.start_command(argv[0], *argv, ORDERMQ_OBSERVE_HTTP_PORT=str(port))
            processes.wait(lambda: _is_ready(port), 60.0, f"{argv[0]} is ready")
            time.sleep(SETTLE_S)
            queries, cpu_s, began_s = _queries(ground), process.cpu_s(), time.monotonic()
            time.sleep(n)
            cpu_s, seconds = process.cpu_s() - cpu_s, time.monotonic() - began_s
            queries = _queries(ground) - queries
            if not _is_ready(port):
                raise Wrong(f"{argv[0]} is not ready any more")
            return {
                "cpu": 100 * cpu_s / seconds, "resident": process.resident_mb(), "queries": queries / seconds,
            }  # fmt: skip

    return sample


def _is_ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _queries(ground: Ground) -> int:
    return int(ground.stack.postgres.sql(_SEEN.format(ground.name)))


CASE = Case(
    name="idle",
    what="one process with nothing to do; n is in seconds",
    unit="% of a core",
    units={"_resident": "MB", "_queries": "1/s"},
    n=60,
    smoke_n=2,
    rounds=1,
    contenders=[
        Contender(
            "ordermq_consumer",
            _sample_of("ordermq-consumer", "--queue", "inventory"),
            "as shipped: 4 threads",
        ),
        Contender("ordermq_relay", _sample_of("ordermq-relay"), "as shipped: polls every 500 ms"),
    ],
    targets=[
        below(1, "ordermq_consumer_cpu", "% of a core"),
        below(60, "ordermq_consumer_resident", "MB"),
        below(1, "ordermq_consumer_queries", "queries/s"),
    ],
)
