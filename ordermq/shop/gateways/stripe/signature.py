"""Whether a webhook was signed by who holds the endpoint's secret, and not long ago. Pure.

``Stripe-Signature: t=SECONDS,v1=HEX,v1=HEX``: each v1 is the HMAC-SHA256 of ``SECONDS.BODY`` under a secret.
"""

import hmac
from collections.abc import Sequence

_MAX_CHARS = 1000
_DIGEST_CHARS = 64
_MOST_DIGITS = 15  # of seconds since 1970; more than that may be no float


class WrongSignature(Exception):
    """The header does not sign the body; the text says why, and holds nothing of either."""


def check(header: str, body: bytes, secrets: Sequence[str], *, now_s: float, tolerance_s: float) -> None:
    """Raise WrongSignature unless one of ``secrets`` has signed ``body`` within ``tolerance_s`` of now.

    Takes the same time whatever is wrong with a digest.
    """
    if len(header) > _MAX_CHARS:
        raise WrongSignature("the header Stripe-Signature is too long")
    parts = [part.strip().partition("=") for part in header.split(",")]
    signed_at = next((value for name, _, value in parts if name == "t"), "")
    digests = [value for name, _, value in parts if name == "v1" and len(value) == _DIGEST_CHARS]
    is_time = signed_at.isascii() and signed_at.isdecimal() and len(signed_at) <= _MOST_DIGITS
    if not is_time or not digests:
        raise WrongSignature("the header Stripe-Signature has no time or no v1")
    wanted = [_digest(secret, signed_at, body) for secret in secrets]
    matches = [hmac.compare_digest(digest.encode(), each.encode()) for digest in digests for each in wanted]
    if not any(matches):
        raise WrongSignature("no v1 fits the body: is stripe.webhook_secret the one of this endpoint?")
    if abs(now_s - int(signed_at)) > tolerance_s:
        raise WrongSignature("it was signed too long ago, or the clocks differ")


def _digest(secret: str, signed_at: str, body: bytes) -> str:
    return hmac.new(secret.encode(), signed_at.encode() + b"." + body, "sha256").hexdigest()
