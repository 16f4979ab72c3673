"""One cell of the matrix: something in another version than the suite's, and what is run there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "matrix"

#: What every cell runs: the doors of broker and database, relay, consumer, stream of events, signatures.
SHORT = (
    "tests/unit/test_received.py",
    "tests/unit/test_payload.py",
    "tests/unit/test_config_load.py",
    "tests/unit/test_orders_saga.py",
    "tests/unit/test_amqp_wire.py",
    "tests/functional/test_amqp_declare.py",
    "tests/functional/test_broker_versions.py",
    "tests/functional/test_relay.py::test_rows_become_messages_and_are_gone",
    "tests/functional/test_events.py::test_a_reader_takes_any_place_skips_what_is_foreign_and_survives_its_connections",
    "tests/functional/test_signed_messages.py",
    "tests/functional/test_hold.py",
    "tests/functional/test_store_session.py",
)
#: A demo in a folder of its own, argument 1: the stack of the checkout may be of another release.
DEMO = """
import os, runpy, sys
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
os.chdir(folder)
sys.argv[1:] = ["--orders", "60"]
runpy.run_module("ordermq.shop.demo", run_name="__main__", alter_sys=True)
"""


class Unavailable(Exception):
    """The cell cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Place:
    """Where a cell runs: the command that is its Python there, and what its environment must have."""

    python: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT


@dataclass(frozen=True)
class Outcome:
    """What came of a cell. ``state`` is passed, failed or cannot run."""

    name: str
    title: str
    state: str
    ran: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    at: str = ""
    why: str = ""
