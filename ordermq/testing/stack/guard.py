"""``python -m ordermq.testing.stack.guard STATE``: clean up after a stack whose owner has ended.

Reads standard input, a pipe whose other end only the owner holds, to its end: that
comes when the owner lets go or dies, however it dies. Then kills what still runs
there and deletes both folders.
"""

import sys
from pathlib import Path

from ordermq.testing.stack import networks
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.process import ServerProcess


def main() -> None:
    """Wait for the owner's end, then clean up."""
    place = Place.existing(Path(sys.argv[1]), server_account())
    sys.stdin.buffer.read()
    clean_up(place)


def clean_up(place: Place) -> bool:
    """Kill every process of ``place`` and delete its networks and folders; return whether any process ran."""
    processes = [ServerProcess(place, pid_file.stem) for pid_file in place.state.glob("*.pid")]
    was_running = any(process.pid for process in processes)
    for process in processes:
        process.kill()
    networks.delete((place.remembered("networks") or {}).get("names", []))
    place.wipe()
    return was_running


if __name__ == "__main__":
    main()
