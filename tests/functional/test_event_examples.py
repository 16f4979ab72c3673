"""The examples of docs/events.md, run as they stand there; the projection is killed at every step."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter

from ordermq.config.environment import inherited
from ordermq.shop.intake.generate import generate
from ordermq.testing import wait_until
from tests.support.events_page import write_example

# The lines of the projection for its first event, of one item, up to the one after the commit; then for its
# second event, of two items, the last ones before the commit and the one after it.
STEPS = 26

# Forks children that are each killed before they run their N-th line of sales.py in the loop over events, and
# says after each which event was counted last.
KILLER = """
import os, sqlite3, sys
import sales

def killed_at(number):
    left = number
    def trace(frame, kind, _):
        nonlocal left
        if frame.f_code.co_filename != sales.__file__:
            return None
        if kind == "line" and (frame.f_code.co_name == "count" or frame.f_lineno > loop):
            left -= 1
            if left == 0:
                os._exit(137)
        return trace
    return trace

loop = sales.main.__code__.co_firstlineno + 7
for number in range(1, int(sys.argv[2]) + 1):
    pid = os.fork()
    if pid == 0:
        sys.settrace(killed_at(number))
        sales.main(sys.argv[1])
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 137, number
    with sqlite3.connect(sys.argv[1]) as database:
        counted = database.execute("SELECT position FROM progress").fetchone()
    print("nothing" if counted is None else counted[0], flush=True)
os.execv(sys.executable, [sys.executable, "sales.py", sys.argv[1]])
"""


def environment(vhost, ordermq_stack):
    return {
        **inherited(), **ordermq_stack.environment(),
        "ORDERMQ_CONFIG": "", "ORDERMQ_BROKER_VHOST": vhost.name,
    }  # fmt: skip


def sold(path):
    with sqlite3.connect(path) as database:
        return dict(database.execute("SELECT product_id, sum(units) FROM sales GROUP BY product_id"))


def test_a_reader_that_knows_nothing_of_ordermq_gets_each_event_once(outward, vhost, tmp_path):
    outward.place(*generate(30, 1))
    outward.publish()
    again = outward.session
    with again.transaction() as tx:
        tx.execute("UPDATE ordermq.feeds SET next_position = 12, last_event = 11")
    outward.publish()
    assert len(outward.log(48)) == 48
    write_example(tmp_path, "follow.py")
    broker = vhost.broker
    url = f"amqp://{broker.username}:{broker.password}@127.0.0.1:{broker.port}/{vhost.name}"
    done = subprocess.run(
        [sys.executable, "follow.py", url], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [f"{order}:1" for _, _, order in lines] == [key for _, key, _ in outward.table()]


def test_a_projection_that_is_killed_at_every_step_counts_each_order_once(
    outward, vhost, ordermq_stack, tmp_path
):
    orders = list(generate(20, 1))
    outward.place(*orders)
    outward.publish()
    write_example(tmp_path, "sales.py")
    (tmp_path / "killer.py").write_text(KILLER)
    env = environment(vhost, ordermq_stack)
    wanted = Counter()
    for order in orders:
        for item in order.items:
            wanted[item.product_id] += item.quantity
    path = tmp_path / "sales.sqlite"
    process = subprocess.Popen(
        [sys.executable, "killer.py", path, str(STEPS)], cwd=tmp_path, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: path.exists() and last(path) == 19, 60, what="the last event")
    except (TimeoutError, sqlite3.Error):
        process.kill()
        raise AssertionError(process.communicate()) from None
    process.kill()
    said, _ = process.communicate()
    assert said.split() == ["nothing"] * 16 + ["0"] * 9 + ["1"]
    assert sold(path) == wanted


def last(path):
    """Return the position of the event that the projection has counted last."""
    try:
        with sqlite3.connect(path) as database:
            found = database.execute("SELECT position FROM progress").fetchone()
    except sqlite3.OperationalError:  # it has not made its tables
        return None
    return found and found[0]
