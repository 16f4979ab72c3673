"""``[shop]``: the services that the order pipeline calls, and when a person is alerted."""

from dataclasses import dataclass

from ordermq.config.settings import Secret, Shape, setting
from ordermq.shop.minor_units import ISO, SERVICES

WAIT, REJECT = "attention", "reject"  # of unknown_product

# Card tokens and phone numbers are sent there; plain http is allowed on this machine only.
SERVICE = Shape(
    "https://..., or http:// to this machine, without credentials",
    r"https://[^\s/@?#]+(/[^\s?#]*)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(/[^\s?#]*)?",
)
_CLASS = Shape("package.module:Class", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_CLASS_OR_EMPTY = Shape(f"{_CLASS.words}, or empty", f"({_CLASS.pattern})?")
_HOST = Shape("a host name or an IP address, or empty", r"[A-Za-z0-9.:_-]*")


@dataclass(frozen=True)
class ShopSettings:
    """Addresses and time limits of the services; durations in seconds."""

    name: str = setting(
        "shop",
        "this shop at its payment service: a part of the idempotency key of new captures; no two shops "
        "that share an account there may have the same",
        shape=Shape("1 to 40 of A-Z a-z 0-9 _ -", r"[A-Za-z0-9_-]{1,40}"),
    )
    payment_gateway: str = setting(
        "ordermq.shop.gateways.http_payment:HttpPaymentGateway",
        "class that calls the payment service; docs/gateways.md says what it must do",
        shape=_CLASS,
    )
    text_gateway: str = setting(
        "ordermq.shop.gateways.http_text:HttpTextGateway",
        "class that calls the text service",
        shape=_CLASS,
    )
    email_gateway: str = setting(
        "ordermq.shop.gateways.smtp:SmtpGateway", "class that sends e-mails", shape=_CLASS
    )
    points_gateway: str = setting(
        "",
        "class that calls a points service; empty: points are kept in the table shop.points alone",
        shape=_CLASS_OR_EMPTY,
    )
    payment_url: str = setting(
        "http://127.0.0.1:8081", "payment service; https unless it is on this machine", shape=SERVICE
    )
    payment_units: str = setting(
        ISO, "whose minor units the payment service takes, where they differ from ISO 4217", choices=SERVICES
    )
    payment_key_life_s: float = setting(
        0.0,
        "the payment service may forget an idempotency key this long after its first use (Stripe: 86400); "
        "0: never",
        ge=0,
    )
    payment_lookup: bool = setting(
        True,
        "the payment service can be asked for a capture or refund by its key; if not, a call is repeated "
        "only while its key lives, and then a person is asked",
    )
    payment_grace_s: float = setting(
        0.0,
        "an order whose card was declined keeps its goods and waits this long for another card; 0: it is "
        "cancelled at once",
        ge=0,
        le=2_592_000,
    )
    payment_action_s: float = setting(
        3600.0,
        "a payment for which the customer has to do something, as with 3-D Secure, is ended at the service "
        "and counts as declined this long after the service first said so",
        gt=0,
        le=2_592_000,
    )
    sms_url: str = setting(
        "http://127.0.0.1:8082", "SMS service; https unless it is on this machine", shape=SERVICE
    )
    smtp_host: str = setting(
        "", "mail server that takes e-mails to customers; empty: none is sent", shape=_HOST
    )
    smtp_port: int = setting(587, "its port: 587 as a rule, with smtp_security tls 465", ge=1, le=65_535)
    smtp_security: str = setting(
        "starttls",
        "how the connection is encrypted, with the certificate and the host name checked; none is allowed "
        "on this machine only",
        choices=("starttls", "tls", "none"),
    )
    smtp_user: str = setting("", "user name at the mail server; empty: no login")
    smtp_password: Secret = setting(Secret, "password at the mail server")
    smtp_ca_file: str = setting("", "PEM file of its certificate authority; empty: those of the system")
    mail_from: str = setting(
        "", "sender of the e-mails, such as orders@shop.example or Our Shop <orders@shop.example>"
    )
    mail_reply_to: str = setting("", "where answers to the e-mails go; empty: to mail_from")
    mail_templates: str = setting(
        "", "folder with e-mails of your own in place of the built-in ones; see docs/operations.md"
    )
    mail_ledger_url: str = setting(
        "",
        "where the mail server's books can be read, as the sandbox has them; empty: reconcile does not check "
        "e-mails, because SMTP itself has no books",
        shape=Shape(f"{SERVICE.words}, or empty", f"({SERVICE.pattern})?"),
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
    unknown_product: str = setting(
        WAIT,
        "an order of a product that was never loaded: attention asks a person and waits for the product, "
        "reject cancels the order",
        choices=(WAIT, REJECT),
    )
    phone_region: str = setting(
        "",
        "country of phone numbers without a country code, such as DE; empty: they are sent as they are",
        shape=Shape("two capital letters of ISO 3166, or empty", r"([A-Z]{2})?"),
    )
    filters: tuple[str, ...] = setting(
        (),
        'saved filters of orders, each a name, a colon and options of "ordermq order list", such as '
        '"acme: --where merchant=acme --attention"',
    )
    stuck_after_s: float = setting(
        600.0,
        "ordermq_orders_stuck counts orders to which nothing happened for this long",
        gt=0,
        le=2_592_000,
    )


SECTION = "shop"
