"""Phone numbers as people write them. Pure.

A bad number must not cost the order, only the text. So a number is tidied when an order is
read, and what is still no number is kept as it is: a person may read it.
"""

import re
import unicodedata

from ordermq.errors import ConfigError

MAX_CHARS = 64

_NUMBER = re.compile(r"\+?[0-9]{6,15}")
_SEPARATORS = re.compile(r"[\s()./\u00b7\u2010-\u2015\u2212-]")
_TRUNK = re.compile(r"\(\s*0\s*\)")  # +49 (0)30: the 0 is dialled only inside of the country
_APOSTROPHES = "'\u2018\u2019`"  # a spreadsheet's mark for text


def is_number(phone: str) -> bool:
    """Return whether ``phone``, tidied, is 6 to 15 digits after an optional +."""
    return _NUMBER.fullmatch(phone) is not None


def dialable(phone: str, region: str = "") -> str | None:
    """Return the number to text for a tidied ``phone``; None if it is no number that can be texted.

    With a ``region``, such as DE, a number without a country code is taken as one of that country.
    """
    if not region or (phone.startswith("+") and is_number(phone)):
        return phone if is_number(phone) else None
    import phonenumbers  # noqa: PLC0415 # 0.1 s that only a shop with a region needs

    try:
        parsed = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return number if phonenumbers.is_possible_number(parsed) and is_number(number) else None


def check_region(region: str) -> None:
    """Raise ConfigError unless ``region`` is empty or a country with phone numbers."""
    if region:
        import phonenumbers  # noqa: PLC0415 # as above

        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(f"shop.phone_region = {region!r}: is not a country of ISO 3166, such as DE")


def tidied(phone: str) -> str | None:
    """Return the number with + or digits alone; what is no number is kept, at most MAX_CHARS of it.

    Separators, a leading apostrophe and invisible characters go, and a leading 00 becomes +.
    None if nothing is left.
    """
    if is_number(phone) and not phone.startswith("00"):
        return phone
    legible = "".join(map(_legible, unicodedata.normalize("NFKC", phone)))
    kept = " ".join(legible.split()).lstrip(_APOSTROPHES).strip()
    bare = _TRUNK.sub("", kept) if kept.startswith(("+", "00")) else kept
    bare = _SEPARATORS.sub("", bare)
    if bare.startswith("00"):
        bare = f"+{bare[2:]}"
    return bare if is_number(bare) else kept[:MAX_CHARS].strip() or None


def _legible(character: str) -> str:
    """Return an ASCII digit for any script's, a blank for a control character, nothing for what is unseen."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category.startswith("C") else character
