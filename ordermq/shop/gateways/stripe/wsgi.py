"""The WSGI application for a web server: ``gunicorn ordermq.shop.gateways.stripe.wsgi:app``.

It reads the settings when it is imported, from $ORDERMQ_CONFIG or /etc/ordermq/ordermq.toml and the
environment, as every command does.
"""

from ordermq.cli.program import Program, load_program
from ordermq.errors import ConfigError
from ordermq.observe import logs
from ordermq.shop.gateways.stripe.settings import stripe_settings
from ordermq.shop.gateways.stripe.webhook import StripeWebhook
from ordermq.store import migrate

NAME = "ordermq stripe webhook"


def application(program: Program) -> StripeWebhook:
    """Return the application for these settings.

    Raises ConfigError without a secret, SchemaOutdated or another StoreError if the tables are not there.
    """
    settings = stripe_settings(program.loaded)
    if not settings.webhook_secret:
        raise ConfigError("stripe.webhook_secret is empty: no webhook could be checked")
    session = program.session(NAME)
    migrate.check(session, program.migrations)
    return StripeWebhook(settings, session)


def __getattr__(name: str) -> StripeWebhook:
    # Made when a server asks for it, so that importing this module in a test reads no settings.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    program = load_program(None)
    logs.configure(program.settings.observe, NAME, correlation_name=program.correlation_name)
    app = application(program)
    globals()["app"] = app
    return app
