"""Messages that other AMQP clients publish: Debian's amqp-publish and npm's amqplib.

Without its client a test is skipped aloud. In CI it runs: bin/bootstrap installs
amqp-publish, and amqplib is installed into build/npm wherever there is npm.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.shop import an_order

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "build" / "npm"
SCRIPT = ROOT / "tests" / "support" / "amqplib_publish.js"
REMAINING = ("shipping", "points")  # they take one type of message, so it need not be named
DEAD = "SELECT queue, convert_from(body, 'UTF8'), reason FROM ordermq.dead_letters ORDER BY queue"


def run(*argv, text="", **env):
    return subprocess.run(
        argv, input=text, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=100
    )


def amqp_publish(url, exchange, messages):
    if shutil.which("amqp-publish") is None:
        assert not os.environ.get("CI"), "bin/bootstrap installs amqp-tools"
        pytest.skip("amqp-tools is not installed: whether amqp-publish's messages are handled was not tried")
    for routing_key, body in messages:
        done = run("amqp-publish", "-u", url, "-e", exchange, "-r", routing_key, "-p", "-b", body)
        assert done.returncode == 0, done.stderr


def amqplib(url, exchange, messages):
    install_amqplib()
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    done = run("node", SCRIPT, url, exchange, text=lines, NODE_PATH=str(MODULES / "node_modules"))
    assert done.returncode == 0, done.stderr


def install_amqplib():
    if (MODULES / "node_modules" / "amqplib").exists():
        return
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: whether amqplib's messages are handled was not tried")
    MODULES.mkdir(parents=True, exist_ok=True)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    done = run("npm", "install", *options, "--prefix", MODULES, "amqplib@^0.10.4")
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip(f"npm could not install amqplib: {done.stderr.strip()[-200:]}")


@pytest.mark.parametrize("publish", [amqp_publish, amqplib])
def test_a_message_of_any_client_is_handled_and_an_unreadable_one_costs_only_itself(pipeline, publish):
    pipeline.stock(p_1=2)
    pipeline.begin("relay", "inventory", "payment", "notify")
    pipeline.place([an_order("o-1"), an_order("o-2")])
    pipeline.wait_for(2, "paid")
    pipeline.wait_outbox_empty()
    pipeline.purge(*REMAINING)  # what the pipeline sent is lost: only the other client's messages are left

    publish(
        pipeline.broker_url,
        "orders",
        [
            ("shipping", '{"order_id": "o-1"}'),
            ("shipping", "not JSON"),
            ("shipping", '{"order_id": "o-2"}'),
            ("points", '{"order_id": "o-1"}'),
            ("points", '{"order_id": 7}'),
            ("points", '{"order_id": "o-2", "a field of tomorrow": true}'),
            ("points", '{"order_id": "o-9"}'),
        ],
    )
    pipeline.begin(*REMAINING)
    pipeline.end_well(2)
    assert pipeline.count("completed") == 2
    dead = pipeline.rows(
        "SELECT queue, convert_from(body, 'UTF8'), reason FROM ordermq.dead_letters ORDER BY 1, 2"
    )
    assert [(queue, body) for queue, body, _ in dead] == [
        ("points", '{"order_id": "o-9"}'),
        ("points", '{"order_id": 7}'),
        ("shipping", "not JSON"),
    ]
    reasons = [reason for _, _, reason in dead]
    assert "no order" in reasons[0]
    assert "order_id" in reasons[1]
    assert "JSON" in reasons[2]
