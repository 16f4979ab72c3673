"""The cells there are: each a name, what it is, and how its place is made."""

import sys
from collections.abc import Callable
from functools import partial

from tests.matrix.cell import ROOT, Place
from tests.matrix.environments import environment, python_named, requirements, run
from tests.matrix.roots import root

HERE = Place((sys.executable,))


def _python(version: str) -> Place:
    return environment(f"python-{version}", python_named(version), requirements())


def _broker(version: str) -> Place:
    run([str(ROOT / "bin/rabbitmq"), version])
    return Place((sys.executable,), {"ORDERMQ_STACK_BROKER": version})


def _postgres(version: str) -> Place:
    run([str(ROOT / "bin/postgres"), version])
    return Place((sys.executable,), {"ORDERMQ_STACK_POSTGRES": version})


def _pika(spec: str) -> Place:
    return environment(f"pika-{spec.strip('=<>!')}", sys.executable, requirements(), changes=[f"pika{spec}"])


def _ends(end: str) -> Place:
    return environment(
        end, sys.executable, requirements(end), changes=requirements() if end == "newest" else ()
    )


CELLS: dict[str, tuple[str, Callable[[], Place]]] = {
    "debian-12": ("Debian 12, its Python, RabbitMQ and PostgreSQL", partial(root, "bookworm")),
    "debian-13": ("Debian 13, its Python, RabbitMQ and PostgreSQL", partial(root, "trixie")),
    "debian-14": ("Debian forky, its Python, RabbitMQ and PostgreSQL", partial(root, "forky")),
    **{
        f"python-{each}": (f"Python {each}", partial(_python, each))
        for each in ("3.11", "3.12", "3.13", "3.14")
    },
    "rabbitmq-3.10": ("RabbitMQ of this machine", lambda: HERE),
    **{f"rabbitmq-{each}": (f"RabbitMQ {each}", partial(_broker, each)) for each in ("4.0", "4.3")},
    "postgresql-15": ("PostgreSQL of this machine", lambda: HERE),
    **{f"postgresql-{each}": (f"PostgreSQL {each}", partial(_postgres, each)) for each in ("17", "18")},
    "pika-1.3.2": ("pika 1.3.2", partial(_pika, "==1.3.2")),
    "pika-1.4.4": ("pika 1.4.4", partial(_pika, "==1.4.4")),
    "pika-1.5": ("the next pika", partial(_pika, ">=1.5.0.dev0,<2")),
    "lowest": ("the oldest of every dependency", partial(_ends, "lowest")),
    "newest": ("the newest of every dependency", partial(_ends, "newest")),
}
