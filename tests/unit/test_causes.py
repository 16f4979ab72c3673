"""Failures are counted by cause, and the causes are bounded."""

from ordermq.consumer import causes
from ordermq.observe import metrics


def fingerprints():
    return {each.labels["fingerprint"] for each in metrics.failures.collect()[0].samples}


def test_what_differs_between_messages_makes_no_other_cause():
    first = causes.fingerprint("payment", "CapturePayment", "timeout after 3 s of 'o-17'")
    assert first == causes.fingerprint("payment", "CapturePayment", "timeout after 19 s of 'A-1'")
    assert first != causes.fingerprint("notify", "CapturePayment", "timeout after 3 s of 'o-17'")


def test_a_reason_may_be_of_any_length_and_hold_half_a_character():
    # What a handler says must not end its consumer, and this was quadratic: 8 s for these.
    assert len(causes.fingerprint("q", "T", "a" * 1_000_000 + "\udc80")) == 12
    assert len(causes.fingerprint("q", "T", "\udc80")) == 12


def test_a_flood_of_causes_becomes_one_series():
    for number in range(3 * metrics.MOST_FINGERPRINTS):
        causes.count_failure("q", "T", "retry", "x" * number)
    assert len(fingerprints()) <= metrics.MOST_FINGERPRINTS + 1
    assert causes.OTHER in fingerprints()
