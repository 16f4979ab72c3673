"""A points service in the place of our own table: booked under a key, and written down once."""

from collections import Counter

import pytest

from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop import cancel_order, points_bookings, refund_order
from ordermq.shop.commands import AdjustPoints, AwardPoints
from ordermq.shop.events import Step
from ordermq.shop.gateways import PointsGateway
from ordermq.shop.handlers.batch import give_up
from ordermq.shop.handlers.points_service import AdjustPointsHandler, AwardPointsHandler
from ordermq.shop.points_bookings import BookedPoints
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


# --- what refunds take back ---


def adjust(shop, club):
    ran = run_handler(
        AdjustPointsHandler(club, shop="north"),
        AdjustPoints(order_id="o-1"),
        session=shop.session,
        commit=True,
    )
    return ran.outcomes[0]


def paid_back(shop, amount_minor):
    with shop.session.transaction() as tx:
        refund_order("o-1", tx, amount_minor=amount_minor, by="anna", reason="late")
    shop.run("payment")
    shop.take("points")


def in_the_club(club):
    return sum(points for _, points in club.books.values())


def in_our_books(shop):
    return shop.database.sql("SELECT points FROM shop.points")


def test_what_refunds_take_back_is_booked_once_for_each_and_in_the_end_all_of_it(shop):
    # PTB1, PTB2
    club = Club()
    award(shop, club)
    left = []
    for amount_minor in (1, 149, 200, 150):
        paid_back(shop, amount_minor)
        club.errors = [OutcomeUnknown("no answer")]
        assert isinstance(adjust(shop, club), Postpone)
        assert adjust(shop, club) == DONE
        assert adjust(shop, club) == DONE
        assert in_our_books(shop) == str(in_the_club(club))
        left.append(in_the_club(club))
    assert left == [4, 3, 1, 0]
    assert club.books == {
        "points:north:o-1": ("c-1", 5),
        "points:north:o-1:refund-1": ("c-1", -1), "points:north:o-1:refund-2": ("c-1", -1),
        "points:north:o-1:refund-3": ("c-1", -2), "points:north:o-1:refund-4": ("c-1", -1),
    }  # fmt: skip
    shop.run("notify", "shipping")
    assert shop.reconcile().is_ok, [each for each in shop.reconcile().checks if each.wrong]


def test_a_booking_keeps_its_points_when_more_goes_back_before_its_answer(shop):
    club = Club()
    award(shop, club)
    paid_back(shop, 100)
    club.errors = [OutcomeUnknown("no answer")]
    assert isinstance(adjust(shop, club), Postpone)  # booked as -1
    paid_back(shop, 200)
    assert isinstance(adjust(shop, club), Postpone)  # the first is certain now, and the second to be booked
    assert adjust(shop, club) == DONE
    assert (in_the_club(club), in_our_books(shop)) == (2, "2")
    assert shop.events().count("points_adjusted") == 1


def test_a_cancelled_order_s_points_are_taken_back_after_an_award_whose_answer_was_lost(shop):
    club = Club()
    club.errors = [OutcomeUnknown("no answer")]
    assert isinstance(award(shop, club), Postpone)
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    assert "too early" in adjust(shop, club).reason
    assert award(shop, club) == DONE
    assert adjust(shop, club) == DONE
    assert club.books == {"points:north:o-1": ("c-1", 5), "points:north:o-1:cancelled-1": ("c-1", -5)}
    assert in_our_books(shop) == "0"


def test_an_award_given_up_and_replayed_late_asks_a_person_where_it_is_too_much(shop):
    club = Club()
    club.errors = [OutcomeUnknown("no answer")]
    award(shop, club)
    with shop.session.transaction() as tx:
        give_up(Step.AWARD, AwardPoints(order_id="o-1"), "gave up", tx)
    paid_back(shop, 300)
    assert adjust(shop, club) == DONE
    assert award(shop, club) == DONE
    assert shop.events()[-1] == "attention_raised"
    assert (in_the_club(club), in_our_books(shop)) == (5, "5")


def test_an_answer_that_comes_twice_is_written_once(shop):
    award(shop, Club())
    taken_back = BookedPoints("o-1", "refund", 1, "c-1", -1)
    with shop.session.transaction() as tx:
        points_bookings.ask([taken_back], tx)
        assert points_bookings.end([taken_back], tx) == {"o-1": 4}
        assert points_bookings.end([taken_back], tx) == {}
    assert in_our_books(shop) == "4"
