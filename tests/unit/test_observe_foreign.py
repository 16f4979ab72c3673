"""What others write to stderr becomes lines of the log, and nobody waits. In processes of their own."""

import json
import subprocess
import sys

HEAD = """
import os, sys
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs
from ordermq.observe.foreign import logging_stderr
logs.configure(ObserveSettings(log_format="json"), "test")
"""


def run(code, **options):
    argv = [sys.executable, "-c", HEAD + code]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)


def test_lines_of_others_are_records_and_the_last_one_needs_no_end():
    done = run(
        "with logging_stderr():\n"
        "    os.write(2, b'WARNING:  a collation\\nDETAIL:  \\xff\\n\\n' + b'x' * 40_000 + b'\\nlast')\n"
        "os.write(2, b'after\\n')\n"
    )
    *lines, after = done.stderr.splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    assert messages[:2] == ["WARNING:  a collation", "DETAIL:  \\xff"]
    assert messages[-1] == "last"
    assert (done.returncode, after) == (0, "after")


def test_a_writer_who_holds_python_s_lock_does_not_wait_for_the_reader():
    # FRN1: PyDLL keeps the lock, so the thread that reads the pipe cannot run meanwhile
    done = run(
        "import ctypes\n"
        "text = b'y' * 4096\n"
        "with logging_stderr():\n"
        "    for _ in range(1000):\n"
        "        ctypes.PyDLL(None).write(2, text, len(text))\n"
        "    print('went on')\n"
    )
    assert done.stdout == "went on\n"


def test_the_log_goes_on_while_the_lines_of_others_are_lost():
    done = run("import logging\nwith logging_stderr():\n    logging.getLogger('ordermq').warning('said')\n")
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["said"]


def test_a_closed_stderr_is_left_closed():
    code = HEAD + "os.close(2)\nwith logging_stderr():\n    print('went on')\n"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_what_a_crash_says_comes_through():
    # FRN2
    done = run("with logging_stderr():\n    os.abort()\n")
    assert done.returncode < 0
    assert "Fatal Python error: Aborted" in done.stderr
