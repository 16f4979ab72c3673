"""Secrets and personal data are planted everywhere, and no output of a pipeline with faults shows one.

LOG3. What a person writes into the error text of a handler of their own is masked where it can be
recognised: addresses, numbers, credentials. A name is only where ordermq itself must not write it.
"""

import os
from pathlib import Path

import pytest

from ordermq import Command, Payload
from ordermq.message import Properties, Publishing
from ordermq.shop import Contact
from ordermq.testing import wait_until
from tests.support.commands import page
from tests.support.pipeline import PROCESSES
from tests.support.shop import an_order

NAME = "Plantagenet-Doe"
EMAIL = "jane.planted@private-mail.example"
PHONE = "+4915100009999"
CARD = "4111111111111111"
BEARER = "planted-bearer-0123456789abcdef"
IN_URL = "planted-in-a-url"
PASSWORD = "planted-password-of-mail"
VARIABLE = "planted-variable-of-the-environment"
TOKENS = [f"tok_planted_{end}" for end in ("0001", "0002", "0003", "0005")]
IN_TEXT = (
    f"{EMAIL} {PHONE} {CARD} Authorization: Bearer {BEARER} amqp://jane:{IN_URL}@host/ password={PASSWORD}"
)

PROJECT = """
from ordermq import DONE, Module, Outcome, Payload, Transaction, handler

class Complain(Payload):
    order_id: str
    text: str

@handler(queue="complaints", message=Complain, key="order_id")
def complain(message: Complain, tx: Transaction) -> Outcome:
    if message.order_id == "c-raises":
        raise ValueError(f"cannot answer {message.text}")
    tx.fetch_one("SELECT %s::int", (message.text,))  # PostgreSQL quotes the value in its error
    return DONE

module = Module("complaints", handlers=[complain])
"""


class Complain(Payload):
    """What the handler of PROJECT takes."""

    order_id: str
    text: str


def poison(queue):
    """Publishings of foreign clients that no handler can read."""
    for number, (headers, changes, body) in enumerate(
        [
            ({"x-user": EMAIL, "authorization": f"Bearer {BEARER}"}, {}, f'{{"{NAME}": "{PHONE}"'.encode()),
            ({"traceparent": EMAIL, "x-last-error": IN_TEXT}, {}, f'{{"order_id": ["{EMAIL}"]}}'.encode()),
            ({}, {"type": EMAIL}, f'"{NAME}"'.encode()),
            ({}, {"message_id": f"{EMAIL}"}, f'"{NAME}"'.encode()),
            ({}, {"correlation_id": PHONE, "content_encoding": IN_TEXT}, b"{}"),
        ]
    ):
        properties = {"type": "ReserveStock", "message_id": f"p-{number}", **changes}
        yield Publishing("orders", queue, Properties(headers=headers, **properties), body)


def outputs(pipeline, addresses):
    """Yield the name and the text of all that the run has written for others to read."""
    for log in Path(pipeline.folder).rglob("*.log"):
        yield log.name, log.read_text()
    for name, address in addresses.items():
        yield f"metrics of {name}", page(address, "/metrics")
    commands = [
        ["status"], ["doctor"], ["dead", "list"], ["dead", "group"], ["order", "export", "o-0001"],
        ["config", "show"], ["trace", "o-0001"],
    ]  # fmt: skip
    for command in commands:
        found = pipeline.run("ordermq", *command)
        yield " ".join(command), found.stdout + found.stderr
    wrong = pipeline.run("ordermq", "status", ORDERMQ_DATABASE_PASSWORD=f"{PASSWORD}-wrong")
    yield "a wrong password", wrong.stdout + wrong.stderr


@pytest.mark.timeout(300)
def test_what_is_planted_in_every_url_header_payload_error_and_variable_shows_nowhere(pipeline):
    (pipeline.folder / "complaints.py").write_text(PROJECT)
    pipeline.env |= {
        "ORDERMQ_MODULES": "ordermq.shop,complaints",
        "PYTHONPATH": os.pathsep.join([str(pipeline.folder), os.environ.get("PYTHONPATH", "")]),
        "ORDERMQ_SHOP_SMTP_PASSWORD": PASSWORD,
        "PLANTED": VARIABLE,
        "ORDERMQ_RETRY_ATTEMPTS": "2",
        "ORDERMQ_OBSERVE_LOG_LEVEL": "DEBUG",
    }
    pipeline.ok("ordermq", "topology", "apply")
    pipeline.stock(p_1=100)
    contact = Contact(phone=PHONE, email=EMAIL, name=NAME)
    orders = [an_order(f"o-{token[-4:]}", card=token, contact=contact) for token in TOKENS]
    pipeline.begin(*PROCESSES, "complaints")
    pipeline.place(orders)
    with pipeline.session.transaction() as tx:
        tx.send(
            [
                Command("complaints", each, each, Complain(order_id=each, text=IN_TEXT))
                for each in ("c-raises", "c-quotes")
            ]
        )
    pipeline.rabbit.publish(*poison("inventory"), *poison("complaints"))
    pipeline.wait_for(2, "completed")
    pipeline.cut_connections()
    pipeline.wait_for_letters(2, "")
    wait_until(lambda: pipeline.value("SELECT count(*) FROM ordermq.dead_letters") >= 12, 40.0)
    addresses = {name: pipeline.address(name) for name in (*PROCESSES, "complaints")}
    planted = {NAME, EMAIL, PHONE, CARD, BEARER, IN_URL, PASSWORD, VARIABLE, *TOKENS}
    planted |= {value for name, value in pipeline.env.items() if name.endswith("_PASSWORD")}
    texts = dict(outputs(pipeline, addresses))
    found = [(secret, name) for name, text in texts.items() for secret in planted if secret in text]
    assert found == [], "\n".join(
        line for secret, name in found for line in texts[name].splitlines() if secret in line
    )
    said = "".join(texts.values())
    assert "cannot answer <e-mail> <phone> <card number>" in said  # so the text did come through
    assert "attempt 1 failed" in said
