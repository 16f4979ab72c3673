"""Whether a webhook is Stripe's: its signature, and how old it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.shop.gateways.stripe.signature import WrongSignature, check
from tests.support.stripe_stub import signature

BODY = b'{"id": "evt_1"}'
NOW_S = 1_900_000_000


def checked(header, body=BODY, secrets=("whsec_right",), now_s=NOW_S):
    check(header, body, secrets, now_s=now_s, tolerance_s=300.0)


def test_a_body_signed_with_the_secret_a_moment_ago_is_accepted():
    checked(signature(BODY, "whsec_right", at=NOW_S - 2))


def test_while_a_secret_is_changed_both_are_accepted():
    checked(signature(BODY, "whsec_old", at=NOW_S), secrets=("whsec_new", "whsec_old"))
    both = signature(BODY, "whsec_x", at=NOW_S) + "," + signature(BODY, "whsec_right", at=NOW_S).split(",")[1]
    checked(both)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (signature(BODY, "whsec_wrong", at=NOW_S), "no v1 fits the body"),
        (signature(BODY + b" ", "whsec_right", at=NOW_S), "no v1 fits the body"),
        (signature(BODY, "whsec_right", at=NOW_S).replace("v1=", "v0="), "no v1"),
        (signature(BODY, "whsec_right", at=NOW_S).replace(f"t={NOW_S}", f"t={NOW_S + 1}"), "no v1 fits"),
        (signature(BODY, "whsec_right", at=NOW_S - 301), "too long ago"),
        (signature(BODY, "whsec_right", at=NOW_S + 301), "clocks differ"),
        ("", "no time"),
        ("t=now,v1=" + "0" * 64, "no time"),
        (signature(BODY, "whsec_right", at=10**400), "no time"),
        ("t=²,v1=" + "0" * 64, "no time"),
        ("v1=" + "0" * 64 + "," * 2000, "too long"),
    ],
)
def test_what_was_not_signed_like_this_is_refused(header, words):
    with pytest.raises(WrongSignature, match=words):
        checked(header)


def test_without_a_secret_nothing_is_accepted():
    with pytest.raises(WrongSignature):
        checked(signature(BODY, "", at=NOW_S), secrets=())


@given(st.text(max_size=200))
def test_no_header_raises_anything_else(header):
    with pytest.raises(WrongSignature):
        checked(header)
