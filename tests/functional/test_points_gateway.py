"""A points service in the place of our own table: booked under a key, and written down once."""

from collections import Counter

import pytest

from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.commands import AwardPoints
from ordermq.shop.gateways import PointsGateway
from ordermq.shop.handlers.points import AwardPointsHandler
from ordermq.task import DONE, Dead, Postpone
from ordermq.testing import run_handler
from tests.support.shop import an_order, open_shop


class Club(PointsGateway):
    """A service of a shop that keeps keys; ``errors`` are what its next answers fail with."""

    def __init__(self):
        self.books = {}
        self.asked = Counter()
        self.errors = []

    @classmethod
    def from_config(cls, config):
        return cls()

    def book(self, booking, *, timeout_s=None):
        self.asked[booking.key] += 1
        error = self.errors.pop() if self.errors else None
        if not isinstance(error, GatewayUnavailable | GatewayRefused):
            self.books.setdefault(booking.key, (booking.customer_id, booking.points))
        if error is not None:
            raise error


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=100)
        shop.place(an_order("o-1"))
        shop.run("inventory", "payment")
        shop.take("points")
        yield shop


def award(shop, club):
    ran = run_handler(
        AwardPointsHandler(club, shop="north"), AwardPoints(order_id="o-1"), session=shop.session, commit=True
    )
    return ran.outcomes[0]


def test_a_paid_order_s_points_are_booked_under_the_key_of_shop_and_order_and_written_down(shop):
    club = Club()
    assert award(shop, club) == DONE
    assert club.books == {"points:north:o-1": ("c-1", 5)}
    assert shop.database.sql("SELECT points FROM shop.points") == "5"
    assert "points_awarded" in shop.events()


def test_a_booking_whose_answer_was_lost_is_asked_for_again_under_its_key(shop):
    club = Club()
    club.errors = [OutcomeUnknown("no answer")]
    assert isinstance(award(shop, club), Postpone)
    assert "points_awarded" not in shop.events()
    assert award(shop, club) == DONE
    assert club.asked == {"points:north:o-1": 2}
    assert shop.events().count("points_awarded") == 1


def test_a_command_that_comes_again_books_and_writes_nothing(shop):
    club = Club()
    award(shop, club)
    assert award(shop, club) == DONE
    assert shop.events().count("points_awarded") == 1
    assert club.books == {"points:north:o-1": ("c-1", 5)}


def test_a_service_that_is_gone_is_waited_for_and_one_that_refuses_needs_a_person(shop):
    club = Club()
    club.errors = [GatewayRefused("no such customer"), GatewayUnavailable("gone", 7.0)]
    assert award(shop, club).delay_s == 7.0
    assert isinstance(award(shop, club), Dead)
    assert club.books == {}
