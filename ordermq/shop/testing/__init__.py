"""Tests for a shop: ``replay`` of an exported order, and suites for gateways of its own.

Subclass a suite, and give it your gateway and a service that misbehaves: docs/gateways.md shows how.
pytest is needed.
"""

import pytest

# Before the suites are imported, so that a failed assert says what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{each}" for each in ("email", "payment", "points", "text")))

from ordermq.shop.testing.email import EmailGatewaySuite, EmailService, SmtpService
from ordermq.shop.testing.http_faults import FaultyService, HttpFaults, ServiceFault
from ordermq.shop.testing.payment import PaymentGatewaySuite, PaymentService
from ordermq.shop.testing.points import PointsGatewaySuite, PointsService
from ordermq.shop.testing.replaying import ReplayedOrder, ReplayFailure, replay
from ordermq.shop.testing.smtp_faults import MailFault, SmtpFaults
from ordermq.shop.testing.text import TextGatewaySuite, TextService

__all__ = [
    "EmailGatewaySuite",
    "EmailService",
    "FaultyService",
    "HttpFaults",
    "MailFault",
    "PaymentGatewaySuite",
    "PaymentService",
    "PointsGatewaySuite",
    "PointsService",
    "ReplayFailure",
    "ReplayedOrder",
    "ServiceFault",
    "SmtpFaults",
    "SmtpService",
    "TextGatewaySuite",
    "TextService",
    "replay",
]
