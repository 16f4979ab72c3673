"""The words of e-mails: built-in, a shop's own, and what is wrong with them at the start."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ordermq.errors import ConfigError
from ordermq.shop import emails
from ordermq.shop.commands import Template
from ordermq.shop.email_templates import EmailTemplates
from ordermq.shop.templates import Facts

DUE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
BUILT_IN = Path(emails.__file__).parent


def facts(template=Template.ORDER_REFUNDED):
    return Facts(template, "A-1", 1299, "EUR", DUE)


def own(folder, **files):
    """Write files, ``order_refunded__txt`` being order_refunded.txt; return the folder's name."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


def whole(template="order_refunded", subject="Money", text="$amount", html="<b>$amount</b>"):
    return {f"{template}__subject": subject, f"{template}__txt": text, f"{template}__html": html}


@pytest.mark.parametrize("template", Template)
def test_every_notification_has_built_in_words_with_its_order_in_all_parts(template):
    subject, text, html = EmailTemplates.read("").render(facts(template))
    assert "A-1" in text
    assert "A-1" in html
    assert subject == subject.strip()
    assert "$" not in subject + text + html
    assert ("2026-01-02 03:04 UTC" in text) is (template is Template.PAYMENT_DUE)


def test_the_built_in_words_can_be_copied_and_changed(tmp_path):
    for file in BUILT_IN.glob("order_refunded.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "order_refunded.subject").write_text("Geld zurück: $amount, $$5\n")
    templates = EmailTemplates.read(str(tmp_path))
    assert templates.render(facts())[0] == "Geld zurück: 12.99 EUR, $5"
    assert templates.render(facts(Template.ORDER_CONFIRMED))[0] == "Your order A-1 is confirmed"


def test_values_are_escaped_in_html_and_only_there(tmp_path):
    templates = EmailTemplates.read(own(tmp_path, **whole(text="$order_id", html="<b>$order_id</b>")))
    _, text, html = templates.render(Facts(Template.ORDER_REFUNDED, '<A&"1', 1, "EUR"))
    assert (text, html) == ('<A&"1', "<b>&lt;A&amp;&quot;1</b>")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"order_refunded__txt": "x"}, r"order_refunded\.subject cannot be read: No such file"),
        (whole(text="pay $name"), r"order_refunded\.txt names \$name; there are \$amount, \$order_id"),
        (whole(html="$due"), r"order_refunded\.html names \$due"),
        (whole(text="5 $ off"), r"order_refunded\.txt has a single \$; write \$\$"),
        (whole(subject="a\nb"), r"order_refunded\.subject must be one line"),
        (whole(subject=""), r"order_refunded\.subject must be one line"),
        (whole(text=b"\xff"), r"order_refunded\.txt is not UTF-8 \(byte 0\)"),
        (whole("order_lost"), r"order_lost\.html is of no notification"),
    ],
)
def test_what_is_wrong_with_a_shop_s_own_words_is_named_with_its_file(tmp_path, files, words):
    with pytest.raises(ConfigError, match=words):
        EmailTemplates.read(own(tmp_path, **files))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone cannot be read"):
        EmailTemplates.read(str(tmp_path / "gone"))
