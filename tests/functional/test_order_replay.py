"""An order that failed is exported without personal data, and becomes a test of the handlers."""

import json

import pytest

from ordermq import Outcome, handler
from ordermq.errors import BadInput
from ordermq.shop import Adjustment, Contact
from ordermq.shop.commands import ReserveStock
from ordermq.shop.export import CARD, EMAIL, NAME, PHONE, export, read_export
from ordermq.shop.testing import replay
from tests.support.commands import run_program
from tests.support.shop import an_order, open_shop

SECRETS = ("+4930999111", "secret@mail.example", "Secret Name", "tok_secret", "SECRETCODE")


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        yield shop


@pytest.fixture
def elsewhere(ordermq_stack, database, database_template):
    """Two databases of the test's own, which are not production's."""
    names = [f"{database.name}_{number}" for number in (1, 2)]
    for name in names:
        ordermq_stack.postgres.create_database(name, database_template)
    yield [ordermq_stack.postgres.settings(name) for name in names]
    for name in names:
        ordermq_stack.postgres.drop_database(name)


def exported(shop, database, ordermq_stack, tmp_path, order_id="A-1"):
    env = {**ordermq_stack.environment(), "ORDERMQ_DATABASE_NAME": database.name}
    found = run_program("ordermq", "order", "export", order_id, env=env)
    assert found.returncode == 0, found.stderr
    assert not [secret for secret in SECRETS if secret in found.stdout]
    path = tmp_path / "order.jsonl"
    path.write_text(found.stdout)
    return path


def test_the_order_that_a_handler_failed_becomes_a_test_that_passes_once_it_is_mended(
    shop, database, ordermq_stack, tmp_path, elsewhere
):
    contact = Contact(phone=SECRETS[0], email=SECRETS[1], name=SECRETS[2])
    discount = Adjustment("discount", -100, SECRETS[4])
    order = an_order(
        "A-1", ("p-1", 1), ("p-7", 2), card=SECRETS[3], contact=contact, adjustments=(discount,),
        total_minor=1400, notify="both", attributes={"merchant": "acme"},
    )  # fmt: skip
    shop.load(p_1=5, p_7=5)
    shop.place(order)
    shop.die(shop.take("inventory")[0], "KeyError: 'p-7'")  # what production did
    path = exported(shop, database, ordermq_stack, tmp_path)
    document = json.loads(path.read_text())
    assert document["status"] == "cancelled"
    assert [each["type"] for each in document["events"]] == ["order_placed", "reservation_failed"]
    assert document["order"]["attributes"] == {"merchant": "acme"}
    assert document["order"]["contact"] == {"phone": PHONE, "email": EMAIL, "name": NAME}
    assert document["order"]["card_token"] == CARD

    @handler(queue="inventory", message=ReserveStock, key="order_id")
    def broken(message: ReserveStock, tx) -> Outcome:
        raise KeyError("p-7")

    failed = replay(path, elsewhere[0], handlers={"ReserveStock": broken})
    assert (failed.status, failed.failure.type) == ("placed", "ReserveStock")
    assert isinstance(failed.failure.error, KeyError)
    mended = replay(path, elsewhere[1])
    assert mended.failure is None
    assert mended.status == "completed"
    assert not mended.is_as_recorded
    assert len(mended.texts) == 2


def test_an_order_whose_card_was_declined_is_declined_again(
    shop, database, ordermq_stack, tmp_path, elsewhere
):
    events = [
        ("order_placed", None, {}), ("stock_reserved", "reserve", {}),
        ("payment_declined", "capture", {"reason": "no_funds"}), ("stock_released", "release", {}),
        ("notification_sent", "notify_cancelled", {}),
    ]  # fmt: skip
    shop.load(p_1=5)
    shop.place(an_order("A-1"))
    with shop.session.transaction() as tx:
        document = export("A-1", tx)
    document["status"] = "cancelled"
    document["events"] = [
        {"version": n, "type": type_, "step": step, "data": data}
        for n, (type_, step, data) in enumerate(events, start=1)
    ]
    path = tmp_path / "declined.jsonl"
    path.write_text(json.dumps(document))
    replayed = replay(path, elsewhere[0])
    assert (replayed.status, replayed.failure) == ("cancelled", None)
    assert replayed.is_as_recorded, replayed.events


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "order": {}}'])
def test_another_file_is_refused(text):
    with pytest.raises(BadInput, match="not a document"):
        read_export(text)
