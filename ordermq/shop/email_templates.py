"""The e-mails' words: built-in, or a folder of the shop's own. Read and checked when a process starts.

For each notification three files: ``order_confirmed.subject``, ``.txt`` and ``.html``. In them stand
``$order_id``, ``$amount`` (such as 12.99 EUR) and, of payment_due, ``$due``. Values are escaped in the
HTML. A folder of the shop's own may leave out a notification, but not one of its three files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template as Words
from typing import Self

from ordermq.errors import ConfigError
from ordermq.shop.commands import Template
from ordermq.shop.templates import Facts

_PARTS = (".subject", ".txt", ".html")
_BUILT_IN = "ordermq.shop.emails"
_ALWAYS = frozenset({"order_id", "amount"})
_NAMES: Mapping[Template, frozenset[str]] = {
    **dict.fromkeys(Template, _ALWAYS),
    Template.PAYMENT_DUE: _ALWAYS | {"due"},
}
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class _Mail:
    subject: Words
    text: Words
    html: Words


class EmailTemplates:
    """The words of every notification."""

    def __init__(self, mails: Mapping[Template, _Mail]) -> None:
        self._mails = mails

    @classmethod
    def read(cls, folder: str) -> Self:
        """Read the built-in e-mails, and in their place those of ``folder`` unless it is empty.

        Raises ConfigError naming the file, for one that is missing, unreadable, or has a name in it that
        has no value.
        """
        built_in = files(_BUILT_IN)
        mails = {template: _read(built_in, template) for template in Template}
        if folder:
            mails |= _own(Path(folder))
        return cls(mails)

    def render(self, facts: Facts) -> tuple[str, str, str]:
        """Return subject, text and HTML."""
        mail, values = self._mails[facts.template], facts.values()
        escaped = {name: escape(value) for name, value in values.items()}
        return (
            mail.subject.substitute(values).strip(),
            mail.text.substitute(values),
            mail.html.substitute(escaped),
        )


def _own(folder: Path) -> dict[Template, _Mail]:
    try:
        present = {path.name for path in folder.iterdir()}
    except OSError as exc:
        raise ConfigError(f"shop.mail_templates: {folder} cannot be read: {exc.strerror}") from exc
    known = {template + part: template for template in Template for part in _PARTS}
    if unknown := sorted(name for name in present - known.keys() if name.endswith(_PARTS)):
        raise ConfigError(
            f"shop.mail_templates: {folder / unknown[0]} is of no notification; the files are"
            f" {', '.join(Template)}, each with {', '.join(_PARTS)}"
        )
    wanted = dict.fromkeys(known[name] for name in sorted(present & known.keys()))
    return {template: _read(folder, template) for template in wanted}


def _read(folder: Traversable, template: Template) -> _Mail:
    subject, text, html = (_words(folder / f"{template}{part}", template) for part in _PARTS)
    if len(subject.template.strip().splitlines()) != 1:
        raise ConfigError(f"shop.mail_templates: {folder / f'{template}.subject'} must be one line")
    return _Mail(subject, text, html)


def _words(file: Traversable, template: Template) -> Words:
    try:
        words = Words(file.read_bytes()[:_MOST_BYTES].decode())
    except OSError as exc:
        raise ConfigError(f"shop.mail_templates: {file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"shop.mail_templates: {file} is not UTF-8 (byte {exc.start})") from None
    allowed = ", ".join(f"${name}" for name in sorted(_NAMES[template]))
    if not words.is_valid():
        raise ConfigError(f"shop.mail_templates: {file} has a single $; write $$ for one, or {allowed}")
    if unknown := sorted(set(words.get_identifiers()) - _NAMES[template]):
        raise ConfigError(f"shop.mail_templates: {file} names ${unknown[0]}; there are {allowed}")
    return words
