"""A shop whose payment service is Stripe, as the stub plays it."""

from ordermq.cli.program import migrations_for
from ordermq.config.loader import Loaded
from ordermq.config.secret import Secret
from ordermq.config.settings import Settings
from ordermq.shop import ShopSettings
from ordermq.shop import module as shop
from ordermq.shop.gateways.stripe import module as stripe
from ordermq.shop.gateways.stripe.gateway import StripeGateway
from ordermq.shop.gateways.stripe.settings import StripeSettings
from ordermq.shop.testing import PaymentService
from ordermq.store import Session, migrate
from tests.support import stripe_stub
from tests.support.stripe_stub import SECRET_KEY

WEBHOOK_SECRET = "whsec_" + "w" * 32


class StripeService(PaymentService):
    """The stub behind faults, as the suite drives it."""

    good_card = stripe_stub.VISA
    declined_card = stripe_stub.DECLINED
    pending_card = stripe_stub.PROCESSING
    action_card = stripe_stub.THREE_D_SECURE

    def __init__(self, faults, stub):
        super().__init__(faults)
        self.stub = stub

    def forget_keys(self):
        self.stub.forget_keys()
        self.faults.forget_keys()

    def movements(self, order_id):
        moved = []
        for intent in self.stub.intents_of(order_id):
            decimals = {"isk": 100}.get(intent["currency"], 1)
            if intent["amount_received"]:
                moved.append(("capture", intent["amount_received"] // decimals))
            moved += [
                ("refund", each["amount"] // decimals)
                for each in self.stub.refunds.values()
                if each["payment_intent"] == intent["id"]
            ]
        return moved

    def decide(self):
        self.stub.settle()

    def act(self, payment_id):
        self.stub.authenticate(payment_id)


def migrated(database):
    """Give a database the tables of shop and adapter."""
    session = Session(database.settings, name="stripe tests")
    migrate.migrate(session, migrations_for([shop, stripe]))
    session.close()


def config_of(database, url, **changes):
    """The settings of a shop at this Stripe."""
    settings = {"secret_key": Secret(SECRET_KEY), "webhook_secret": Secret(WEBHOOK_SECRET), "url": url}
    extra = {
        "shop": ShopSettings(gateway_connect_timeout_s=1.0, gateway_timeout_s=5.0),
        "stripe": StripeSettings(**(settings | changes)),
    }
    return Loaded(Settings(database=database.settings), extra, {})


def gateway_of(database, url, **changes):
    return StripeGateway.from_config(config_of(database, url, **changes))
