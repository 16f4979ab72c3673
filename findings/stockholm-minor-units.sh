#!/usr/bin/env bash
# stockholm 0.5.7: 1250 yen are 1250 minor units before they go through JSON, and 125000 after.
#
# Payment providers want minor units: yen have none (ISO 4217), a Kuwaiti dinar has 1000. Money.sub_units is there for them.
# Guess: two amounts that are equal have the same minor units, and the library's own JSON keeps them.
# Seen:  only a currency given as an object has its decimals. One given as text, as in Money("1250 JPY") and in whatever
#        Money.from_json() reads, has 100 minor units. So a payment is requested a hundred times too high in yen and ten times
#        too low in dinars, while the two amounts compare as equal. A sum has the decimals of its first amount.
#        The README speaks of "sub units (multiplied by 100)"; the change log says that JPY has none.
# So: Money(amount, stockholm.get_currency("JPY")) right after reading, before minor units are asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'stockholm==0.5.7' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from stockholm import Money, get_currency
from stockholm.currency import EUR, JPY, KWD

for amount, currency in (("12.50", EUR), ("1250", JPY), ("1.250", KWD)):
    sent = Money(amount, currency)
    read = Money.from_json(sent.as_json())
    print(f"{sent}: minor units {sent.sub_units:.0f}, read from its JSON {read.sub_units:.0f}, equal {read == sent}, "
          f"with get_currency {Money(read, get_currency(read.currency_code)).sub_units:.0f}")
print(f"1250 minor units of text JPY: {Money.from_sub_units(1250, 'JPY')}, of text KWD: {Money.from_sub_units(1250, 'KWD')}")
one, other = Money(100, JPY), Money("100 JPY")
print(f"object + text: {(one + other).sub_units:.0f}, text + object: {(other + one).sub_units:.0f}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='12.50 EUR: minor units 1250, read from its JSON 1250, equal True, with get_currency 1250
1250 JPY: minor units 1250, read from its JSON 125000, equal True, with get_currency 1250
1.250 KWD: minor units 1250, read from its JSON 125, equal True, with get_currency 1250
1250 minor units of text JPY: 12.50 JPY, of text KWD: 12.50 KWD
object + text: 200, text + object: 20000'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'stockholm no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
