"""``[shop]``: the services that the order pipeline calls, and when a person is alerted."""

from dataclasses import dataclass

from ordermq.config.settings import Shape, setting

# Card tokens and phone numbers are sent there; plain http is allowed on this machine only.
_GATEWAY = Shape(
    "https://..., or http:// to this machine, without credentials",
    r"https://[^\s/@?#]+(/[^\s?#]*)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(/[^\s?#]*)?",
)


@dataclass(frozen=True)
class ShopSettings:
    """Addresses and time limits of the services; durations in seconds."""

    payment_url: str = setting(
        "http://127.0.0.1:8081", "payment service; https unless it is on this machine", shape=_GATEWAY
    )
    sms_url: str = setting(
        "http://127.0.0.1:8082", "SMS service; https unless it is on this machine", shape=_GATEWAY
    )
    gateway_connect_timeout_s: float = setting(3.0, "longest time to connect to a service", gt=0, le=60)
    gateway_timeout_s: float = setting(
        10.0, "longest request, with connecting; keep it below consumer.call_timeout_s", gt=0, le=600
    )
    capture_settles_s: float = setting(
        60.0,
        "a capture that the payment service does not know this long after the last try was never made; "
        "keep it above consumer.lease_s + gateway_timeout_s",
        gt=0,
        le=86_400,
    )

    alert_phone: str = setting(
        "",
        "phone number to text when an order needs a person, such as +4930123456; empty: it is only logged",
        shape=Shape("+ and 6 to 15 digits, or empty", r"(\+?\d{6,15})?"),
    )
    alert_every_s: float = setting(
        60.0, "each consumer of notify texts the operator at most once in this time", ge=0, le=86_400
    )
    stuck_after_s: float = setting(
        600.0,
        "ordermq_orders_stuck counts orders to which nothing happened for this long",
        gt=0,
        le=2_592_000,
    )


SECTION = "shop"
