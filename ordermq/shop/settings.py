"""``[shop]``: the services outside that the order pipeline calls."""

from dataclasses import dataclass

from ordermq.config.settings import Shape, setting

# Cards and phone numbers travel there: in the clear on this machine only.
_GATEWAY = Shape(
    "https://..., or http:// to this machine, without credentials",
    r"https://[^\s/@?#]+(/[^\s?#]*)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(/[^\s?#]*)?",
)


@dataclass(frozen=True)
class ShopSettings:
    """Where the gateways are and how long they may take; durations in seconds."""

    payment_url: str = setting(
        "http://127.0.0.1:8081", "payment service; https unless it is on this machine", shape=_GATEWAY
    )
    sms_url: str = setting(
        "http://127.0.0.1:8082", "SMS service; https unless it is on this machine", shape=_GATEWAY
    )
    gateway_connect_timeout_s: float = setting(3.0, "connecting to a gateway", unit="s", gt=0, le=60)
    gateway_timeout_s: float = setting(
        10.0, "one request, connecting included; keep below consumer.call_timeout_s", unit="s", gt=0, le=600
    )
    capture_settles_s: float = setting(
        60.0,
        "this long after a capture was last tried, one that the gateway has never seen is none; "
        "keep above consumer.lease_s + gateway_timeout_s",
        unit="s",
        gt=0,
        le=86_400,
    )

    alert_phone: str = setting(
        "",
        "whom to text when an order needs a person, as +4930123456; empty: nobody, it is only logged",
        shape=Shape("+ and 6 to 15 digits, or empty", r"(\+?\d{6,15})?"),
    )
    alert_every_s: float = setting(
        60.0,
        "the operator gets no more than one text in this time from each consumer of notify",
        unit="s",
        ge=0,
        le=86_400,
    )
    stuck_after_s: float = setting(
        600.0,
        "an order under way to which nothing happened for so long counts in ordermq_orders_stuck",
        unit="s",
        gt=0,
        le=2_592_000,
    )


SECTION = "shop"
