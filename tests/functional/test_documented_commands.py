"""The commands of README.md and docs/tutorial.md, run in order as a user would, from the built wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ordermq.cli.new import project
from ordermq.config.environment import inherited
from tests.support.documents import blocks, left_out, script

ROOT = Path(__file__).parents[2]
README, TUTORIAL = ROOT / "README.md", ROOT / "docs" / "tutorial.md"

ORDERS = """\
order_id,customer_id,currency,total_minor,card_token,product_id,quantity,unit_price_minor
A-1001,C-7,EUR,2598,tok_1,P-1,2,1299
"""

LONGEST_S = 400.0  # on a machine with other work; 40 s on a quiet one

# Every command that is documented and not run here: whoever adds one has to say so twice.
NOT_RUN = {
    README: [("takes minutes", "make demo"), ("takes minutes", "make test")],
    TUTORIAL: [
        ("needs root", command)
        for command in (
            "sudo apt-get install --no-install-recommends rabbitmq-server postgresql python3-venv",
            "useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin ordermq",
            "python3 -m venv /opt/ordermq/first",
            "ln -s first /opt/ordermq/current",
            "/opt/ordermq/current/bin/pip install ordermq ./giftshop",
            "install -d -m 0750 -g ordermq /etc/ordermq",
            "install -d -m 0700 /etc/ordermq/credentials",
            "install -m 0640 -g ordermq giftshop/ordermq.toml /etc/ordermq/ordermq.toml",
            "(umask 077; cat > /etc/ordermq/credentials/broker_password)",
            "(umask 077; cat > /etc/ordermq/credentials/database_password)",
            "cp /opt/ordermq/current/share/ordermq/systemd/* /etc/systemd/system/",
            "install -D -m 0644 -t /etc/systemd/system/ordermq-consumer@gifts.service.d"
            " giftshop/deploy/giftshop.conf",
            "systemctl daemon-reload",
            "/opt/ordermq/current/bin/ordermq db migrate",
            "/opt/ordermq/current/bin/ordermq topology apply",
            "systemctl enable --now ordermq.target"
            " ordermq-relay ordermq-consumer@gifts ordermq-consumer@dead",
        )
    ],
}


@pytest.fixture
def shell(wheel, tmp_path):
    """Run a script in an empty folder, where pip finds the wheel and nothing of the checkout is known."""
    env = {
        **inherited(),
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PIP_FIND_LINKS": f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}",
        "PIP_QUIET": "1",
        # This is pip's way to say no: what the commands import is compiled then, and no more.
        "PIP_NO_COMPILE": "0",
        "ORDERMQ_CONFIG": "",
    }
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        env.pop(name, None)

    def run(text, **more):
        done = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, env={**env, **more}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=LONGEST_S,
        )  # fmt: skip
        logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in tmp_path.rglob("*.log"))
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{logs}"
        return done.stdout

    yield run
    for state in tmp_path.rglob(".devstack"):
        program = tmp_path / "venv" / "bin" / "ordermq"
        subprocess.run(
            [program, "devstack", "--state", state, "down", "--wipe"], check=True, capture_output=True
        )


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=lambda page: page.name)
def test_what_is_left_out_is_known_by_name(page):
    assert left_out(page) == NOT_RUN[page]
    assert [each for each in blocks(page) if not each.left_out]


def test_the_handler_of_the_readme_is_the_one_that_ordermq_new_writes():
    handler = dict(project("giftshop"))[Path("giftshop/gifts.py")]

    assert f"```python\n{handler}```" in README.read_text()


@pytest.mark.timeout(LONGEST_S + 20)
def test_every_command_of_the_tutorial_works(shell, ordermq_stack):
    # Its own pytest need not start one more stack.
    printed = shell(script(TUTORIAL), PYTEST_ADDOPTS=f"--ordermq-stack={ordermq_stack.place.state}")

    assert "2 passed" in printed
    assert "devstack: stopped" in printed


@pytest.fixture
def servers(ordermq_stack, vhost, database, sandbox):
    """The variables that lead commands to the test's own part of the run's servers."""
    return {
        **ordermq_stack.environment(),
        "ORDERMQ_BROKER_VHOST": vhost.name,
        "ORDERMQ_DATABASE_NAME": database.name,
        "ORDERMQ_SHOP_PAYMENT_URL": sandbox.payment_url,
        "ORDERMQ_SHOP_SMS_URL": sandbox.sms_url,
    }


@pytest.mark.empty_database
@pytest.mark.timeout(LONGEST_S + 20)
def test_every_command_of_the_readme_works(shell, servers, tmp_path):
    (tmp_path / "orders.csv").write_text(ORDERS)
    # The order finds no stock and is cancelled: who tells the customer is all that it takes besides.
    text = script(README).replace("ordermq-relay &", "ordermq-relay &\nordermq-consumer --queue notify &")

    printed = shell(f"python3 -m venv venv\n. venv/bin/activate\n{text}", **servers)

    assert "wrote giftshop/giftshop/gifts.py" in printed
