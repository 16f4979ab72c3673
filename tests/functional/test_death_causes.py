"""Open dead letters are counted by cause as they are written and closed, and nobody waits for the count."""

import pytest

from ordermq.clock import utc_now
from ordermq.consumer.causes import fingerprint
from ordermq.message import Envelope
from ordermq.store import Session, dead_letters
from ordermq.store.dead_letters import Filter
from tests.support.shop import open_shop

BROKEN, SLOW = "no parcel size for product p-7", "Timeout: the 'carrier' did not answer in 5 s"


@pytest.fixture
def session(database):
    with open_shop(database) as shop:
        yield shop.session


def keep(tx, number, reason, queue="shipping"):
    envelope = Envelope(f"o-{number}:4:{queue}", "CreateShipment", 1, f"o-{number}", "", utc_now())
    dead_letters.keep(tx, queue, [(envelope, b"{}", reason)])


def counted(session):
    """Return the number of open letters of each cause, which is that of the letters themselves."""
    with session.transaction() as tx:
        counts = {each.reason: each.count for each in dead_letters.group(tx)}
        letters = dead_letters.group(tx, Filter(newer_than_s=1e9))  # counted one by one
        assert {each.reason: each.count for each in letters} == counts
        assert dead_letters.count_open(tx) == dead_letters.count(tx)[0] == sum(counts.values())
        return counts


def test_consumers_that_write_letters_of_one_cause_at_once_do_not_wait_for_each_other(session, database):
    with session.transaction() as tx:
        keep(tx, 0, BROKEN)
    other = Session(database.settings, name="other")
    try:
        with session.transaction() as first:
            keep(first, 1, BROKEN)
            with other.transaction() as second:
                second.execute("SET LOCAL lock_timeout = '1s'")
                keep(second, 2, BROKEN)
                [letter] = dead_letters.select(second, Filter(correlation_id="o-0"))
                dead_letters.discard(second, [letter.dead_letter_id], by="anna", reason="a test")
            keep(first, 3, BROKEN)
    finally:
        other.close()
    assert counted(session) == {BROKEN: 3}


def test_a_cause_is_counted_until_its_last_letter_is_replayed_or_discarded_or_deleted(session):
    with session.transaction() as tx:
        for number in range(4):
            keep(tx, number, BROKEN)
        keep(tx, 1, SLOW, "points")
    with session.transaction(dry_run=True) as tx:
        keep(tx, 5, BROKEN)
    assert counted(session) == {BROKEN: 4, SLOW: 1}
    with session.transaction() as tx:
        first, second, *_ = reversed(dead_letters.select(tx, Filter(queue="shipping")))
        dead_letters.replay(tx, first, by="anna", reason="mended")
        dead_letters.discard(tx, [second.dead_letter_id], by="anna", reason="a test")
        assert [each.letters for each in dead_letters.causes(tx, limit=1)] == [2]
    assert counted(session) == {BROKEN: 2, SLOW: 1}
    with session.transaction() as tx:
        tx.execute("DELETE FROM ordermq.dead_letters WHERE queue = 'shipping'")
    assert counted(session) == {SLOW: 1}
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT count(*) FROM ordermq.death_causes") == (1,)
        tx.execute("TRUNCATE ordermq.dead_letters")
    assert counted(session) == {}


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("parcel", [1]), ("PRODUCT P-", [1]), ("p-7", [1]), ("size", [1]), ("carrier", [2]), ("in 5", [2]),
        ("'carrier' did", [2]), ("e", [1, 2]), ("parcel carrier", []), ("100%", []), ("_", []),
    ],
)  # fmt: skip
def test_a_text_is_found_in_reasons_also_in_the_parts_by_which_they_differ(session, error, found):
    with session.transaction() as tx:
        keep(tx, 1, BROKEN)
        keep(tx, 2, SLOW)
        letters = dead_letters.select(tx, Filter(error=error))
        assert sorted(int(each.correlation_id[2:]) for each in letters) == found
        assert dead_letters.count(tx, Filter(error=error))[0] == len(found)


def test_the_metrics_have_the_fingerprints_of_the_table(session):
    reasons = [BROKEN, SLOW, 'refused "a-b": 3F-9 of 77', "über 12 Stück", "no digits"]
    with session.transaction() as tx:
        for number, reason in enumerate(reasons):
            keep(tx, number, reason)
        found = {each.reason: each.fingerprint for each in dead_letters.group(tx)}
    assert found == {reason: fingerprint("shipping", "CreateShipment", reason) for reason in reasons}
