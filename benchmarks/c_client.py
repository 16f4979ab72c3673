"""The client in C, built when first needed; where it cannot be built, its contender is left out."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.case import Missing, Wrong
from benchmarks.ground import Ground
from benchmarks.programs import orders

_SOURCE = Path(__file__).parent / "c" / "client.c"
_BUILD = Path(__file__).parents[1] / "build"
_NEEDED = "bin/bootstrap bench installs gcc, libc6-dev and librabbitmq-dev"


def run_client(ground: Ground, mode: str, n: int, window: int) -> dict[str, Any]:
    """Have the client publish or consume ``n`` messages. Raises Missing, ProgramFailed."""
    broker = ground.job()["amqp"]
    given = {
        "host": broker["host"], "port": broker["port"], "vhost": broker["vhost"], "user": broker["username"],
        "exchange": orders.PREFIX, "key": orders.QUEUE, "queue": orders.FULL_QUEUE, "type": "Order",
        "body": orders.body(1).decode(), "n": n, "window": window,
    }  # fmt: skip
    return ground.call([_built(), *(f"{key}={value}" for key, value in given.items()), mode])


@cache
def _built() -> str:
    if shutil.which("cc") is None:
        raise Missing(f"there is no C compiler; {_NEEDED}")
    _BUILD.mkdir(exist_ok=True)
    client = str(_BUILD / "bench-client")
    looked = subprocess.run(
        ["cc", "-E", "-"], input="#include <amqp.h>\n", capture_output=True, text=True, check=False
    )
    if looked.returncode != 0:
        raise Missing(f"there is no librabbitmq to build with; {_NEEDED}")
    argv = ["cc", "-O2", "-Wall", "-o", client, str(_SOURCE), "-lrabbitmq"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Wrong(f"the C client does not compile:\n{done.stderr[-3000:]}")
    return client
