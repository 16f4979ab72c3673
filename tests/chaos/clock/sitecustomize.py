"""A wall clock that is wrong, for F26: found by Python at its start when this folder is in PYTHONPATH.

The first eight bytes of the file CHAOS_CLOCK, a double, are how many seconds it is
ahead; they may change while the process runs. The monotonic clock stays as it is.
"""

import datetime
import mmap
import os
import struct
import time

with open(os.environ["CHAOS_CLOCK"], "rb") as _file:
    _ahead = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)
_time = time.time
_datetime = datetime.datetime


def _ahead_s():
    return struct.unpack("d", _ahead[:8])[0]


class _Wrong(_datetime):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + datetime.timedelta(seconds=_ahead_s())

    @classmethod
    def utcnow(cls):
        return _datetime.utcnow() + datetime.timedelta(seconds=_ahead_s())


time.time = lambda: _time() + _ahead_s()
datetime.datetime = _Wrong
