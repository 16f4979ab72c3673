"""Logs of made-up entries for tests, and the other implementation that verifies them."""

import subprocess
from pathlib import Path

import pytest

from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.folder import LogFolder
from ordermq.audit.growing import LogWriter
from ordermq.audit.merkle import EMPTY_ROOT, inclusion_proof
from ordermq.audit.signing import new_key, opened
from ordermq.audit.source import read_tile
from ordermq.audit.tiles import TileTree

ROOT = Path(__file__).parents[2]
AICS = ROOT / ".venv-aics" / "bin"

HAS_AICS = (AICS / "aics-witness").exists()
NO_AICS = "aics-tlog and aics-witness need Python 3.12: tests/independent-log installs them and runs these"
needs_aics = pytest.mark.skipif(not HAS_AICS, reason=NO_AICS)  # a Python that CI may not have


class MadeLog:
    """A log in a folder, signed by a key of its own; ``grow`` adds entries and publishes."""

    def __init__(self, folder, name="audit.example.com/shop"):
        self.folder = folder
        self.key = new_key(name)
        self.vkey = str(self.key.verifier)
        self.files = LogFolder(folder)
        self.entries = []

    def grow(self, count):
        """Add so many entries; return the bytes of the new checkpoint."""
        writer = LogWriter(self.files, self.checkpoint)
        first = len(self.entries)
        self.entries += [b"demo\nA-1\n%d\nentry" % each for each in range(first, first + count)]
        writer.append(self.entries[first:])
        note = self.key.sign(writer.finish(self.key.name)).encode()
        self.files.put_checkpoint(note)
        return note

    @property
    def checkpoint(self):
        data = self.files.read("checkpoint")
        return (
            opened(data, self.key.verifier).checkpoint if data else Checkpoint(self.key.name, 0, EMPTY_ROOT)
        )

    def proof(self, position):
        size = self.checkpoint.size
        return inclusion_proof(TileTree(lambda tile: read_tile(self.files, tile), size), position, size)


def independent(*argv):
    """Have the other implementation verify; return what it prints."""
    script = ROOT / "tests" / "support" / "independent_log.py"
    command = [str(each) for each in (AICS / "python", script, *argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
