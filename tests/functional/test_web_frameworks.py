"""docs/web-frameworks.md: orders in the transactions of Django and of SQLAlchemy, with the real libraries."""

import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

import django
import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection as django_connection
from django.db import models, transaction
from sqlalchemy import URL, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ordermq import join_transaction, wake_relay
from ordermq.errors import OrderConflict, UsageError
from ordermq.shop import Placed, Status
from ordermq.store.connecting import connect
from tests.support.documents import blocks
from tests.support.shop import an_order, open_shop

PAGE = Path(__file__).parents[2] / "docs" / "web-frameworks.md"
DRIVER = "django.db.backends.postgresql"

django_settings.configure(DATABASES={"default": {"ENGINE": DRIVER, "NAME": "none"}}, USE_TZ=True)
# Django takes psycopg 3 where it is installed, as it is for the test below.
sys.modules["psycopg"] = None
import_module(f"{DRIVER}.base")
sys.modules["psycopg"] = psycopg
django.setup()


def documented(name):
    """Return the names of the page's file ``name``, as if it was imported."""
    [body] = [each.body for each in blocks(PAGE) if each.file == name]
    names = {}
    exec(compile(body, name, "exec"), names)  # noqa: S102 # the page's own code
    return names


class Cart(models.Model):
    """A table of a Django application."""

    cart_id = models.TextField(primary_key=True)

    class Meta:
        app_label = "carts"


class Base(DeclarativeBase):
    """The tables of an application with SQLAlchemy."""


class Basket(Base):
    """One of them."""

    __tablename__ = "baskets"
    basket_id: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        yield shop


@pytest.fixture
def in_django(shop):
    """The page's ``check_out``, on the database of the test."""
    settings = shop.database.settings
    django_connection.settings_dict.update(
        HOST=settings.host, PORT=settings.port, NAME=settings.name, USER=settings.username,
        PASSWORD=settings.password.reveal(),
    )  # fmt: skip
    with django_connection.schema_editor() as editor:
        editor.create_model(Cart)
    yield documented("django_checkout.py")["check_out"]
    django_connection.close()


@pytest.fixture
def engine(shop):
    settings = shop.database.settings
    url = URL.create(
        "postgresql+psycopg2", settings.username, settings.password.reveal(), settings.host, settings.port,
        settings.name,
    )  # fmt: skip
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def relay_channel(shop):
    """A connection that hears what wakes the relay."""
    with closing(connect(shop.database.settings, name="relay")) as listener:
        listener.autocommit = True
        listener.cursor().execute("LISTEN ordermq_outbox")
        yield listener


def is_woken(listener):
    listener.cursor().execute("SELECT 1")
    listener.poll()
    return bool(listener.notifies)


def counts(shop, table):
    query = f"SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM shop.orders)"  # noqa: S608 # constants
    return shop.database.sql(query)


def test_in_django_an_order_and_the_application_s_rows_are_committed_together(shop, in_django, relay_channel):
    with transaction.atomic():
        Cart.objects.create(cart_id="cart-1")
        assert in_django(an_order("o-1")) == Placed("o-1", Status.PLACED, is_duplicate=False)
        assert counts(shop, "carts_cart") == "0|0"
        assert not is_woken(relay_channel)
    assert counts(shop, "carts_cart") == "1|1"
    assert is_woken(relay_channel)
    assert [message.envelope.message_id for message in shop.take("inventory")] == ["o-1:1:inventory"]
    assert in_django(an_order("o-1")).is_duplicate


def test_in_django_a_rollback_takes_the_order_with_it_whole_or_to_a_savepoint(shop, in_django):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Cart.objects.create(cart_id="cart-1")
        in_django(an_order("o-1"))
        1 / 0  # noqa: B018 # fails on purpose
    assert counts(shop, "carts_cart") == "0|0"
    with transaction.atomic():
        Cart.objects.create(cart_id="cart-2")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            in_django(an_order("o-2"))
            1 / 0  # noqa: B018 # fails on purpose
    assert counts(shop, "carts_cart") == "1|0"


def test_in_django_a_transaction_goes_on_after_a_conflict(shop, in_django):
    in_django(an_order("o-1"))
    with transaction.atomic():
        with pytest.raises(OrderConflict):
            in_django(an_order("o-1", customer_id="somebody-else"))
        Cart.objects.create(cart_id="cart-1")
    assert counts(shop, "carts_cart") == "1|1"


def test_outside_of_atomic_and_in_autocommit_an_order_is_refused(shop, in_django, engine):
    join = documented("django_checkout.py")["join_transaction"]
    django_connection.ensure_connection()
    with pytest.raises(UsageError, match="autocommit"):
        join(django_connection.connection)
    check_out = documented("sqlalchemy_checkout.py")["check_out"]
    with (
        Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session,
        pytest.raises(UsageError, match="autocommit"),
    ):
        check_out(an_order("o-1"), session)


def test_a_connection_of_psycopg_3_is_refused_by_its_name(shop):
    settings = shop.database.settings
    with psycopg.connect(
        host=settings.host, port=settings.port, dbname=settings.name, user=settings.username,
        password=settings.password.reveal(),
    ) as connection:  # fmt: skip
        for use in (join_transaction, wake_relay):
            with pytest.raises(
                UsageError, match=r"is a psycopg\.Connection, and ordermq needs one of psycopg2"
            ):
                use(connection)


def test_in_sqlalchemy_an_order_and_the_application_s_rows_are_committed_together(
    shop, engine, relay_channel
):
    names = documented("sqlalchemy_checkout.py")
    with Session(engine) as session, session.begin():
        session.add(Basket(basket_id="basket-1"))
        assert names["check_out"](an_order("o-1"), session).status is Status.PLACED
        assert counts(shop, "baskets") == "0|0"
    assert counts(shop, "baskets") == "1|1"
    assert not is_woken(relay_channel)
    names["wake"](engine)
    assert is_woken(relay_channel)


def test_in_sqlalchemy_an_order_alone_is_committed_and_a_rollback_takes_it_with_it(shop, engine):
    check_out = documented("sqlalchemy_checkout.py")["check_out"]
    with Session(engine) as session:
        check_out(an_order("o-1"), session)
        session.commit()
        session.add(Basket(basket_id="basket-1"))
        check_out(an_order("o-2"), session)
        session.rollback()
        session.add(Basket(basket_id="basket-2"))
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            check_out(an_order("o-3"), session)
            1 / 0  # noqa: B018 # fails on purpose
        session.commit()
    assert counts(shop, "baskets") == "1|1"
    assert shop.order("o-1").status == "placed"
