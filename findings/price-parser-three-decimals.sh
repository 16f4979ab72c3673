#!/usr/bin/env bash
# price-parser 0.5.1: an amount with three decimals is read a thousand times too high, even "0.500".
#
# The dinars of Bahrain, Iraq, Jordan, Kuwait, Libya and Tunisia and the rial of Oman have three decimals (ISO 4217),
# so shops there write prices as below.
# Guess: the currency in the text, or at the least the leading zero of "0.500", tells that the point is a decimal point.
# Seen:  three digits behind the last separator are always taken as thousands: 12.000 KWD is 12000 and half a rial
#        is 500 rials, without a warning. The currency is recognised and not looked at.
# So: with such currencies state decimal_separator (the last block shows that it helps), or do not parse free text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'price-parser==0.5.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from price_parser import Price

for text in ("12.000 KWD", "OMR 0.500", "1.500 BHD", "10,500 TND"):
    price = Price.fromstring(text)
    print(f"{text!r}: {price.amount} {price.currency}")
print(f"'OMR 0.500' with decimal_separator='.': {Price.fromstring('OMR 0.500', decimal_separator='.').amount}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected="'12.000 KWD': 12000 KWD
'OMR 0.500': 500 OMR
'1.500 BHD': 1500 BHD
'10,500 TND': 10500 TND
'OMR 0.500' with decimal_separator='.': 0.500"
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'price-parser no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
