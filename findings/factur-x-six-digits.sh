#!/usr/bin/env bash
# factur-x 7.8 bills 12345.7 kWh for 12345.67, and 123456 pieces for 123456.5: six digits of a quantity, no more.
#
# The library writes e-invoices (EN 16931, as Factur-X and as UBL) from a dict. Since 7.0 quantities may be floats there, so that
# the dict can come from JSON; reading an invoice with float_as="float" gives such a dict.
# Guess: a float of seven digits is written with seven digits; or, as its source says, rounded to four decimals.
# Seen:  it is rounded to four decimals and then to six digits in all, without a warning; the invoice passes the check against
#        its schema. The line's total is not touched, so quantity times price is no longer the total. From a million on it is
#        written as 1e+06, which that check refuses. The same number as text is written as it is.
#        A valid invoice that is read with float_as="float" and written again bills another quantity.
# So: give quantities as text, and read with the default float_as="string".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'factur-x==7.8' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import logging
from decimal import Decimal

import facturx

logging.disable(logging.CRITICAL)
PRICE = Decimal("0.25")
shop = {"name": "A Shop", "country_code": "FR", "city": "Paris", "postcode": "75001"}
buyer = {"name": "B Shop", "country_code": "FR", "city": "Lyon", "postcode": "69001"}


def write(quantity, flavor):
    net = (Decimal(str(quantity)) * PRICE).quantize(Decimal("0.01"))
    tax = (net / 5).quantize(Decimal("0.01"))
    net, tax, gross = str(net), str(tax), str(net + tax)
    line = {"BT-126": "1", "BT-153": "Electricity", "BT-129": quantity, "BT-130": "KWH", "BT-146": str(PRICE), "BT-131": net,
            "BT-151": "S", "BT-152": "20"}
    taxes = {"BT-116": net, "BT-117": tax, "BT-118": "S", "BT-119": "20"}
    invoice = {"BT-1": "A-1001", "BT-2": "2026-01-31", "BT-3": "380", "BT-5": "EUR", "BT-72": "2026-01-31",
               "BG-4": shop, "BG-7": buyer, "BG-25": [line], "BG-23": [taxes], "BT-106": net, "BT-109": net, "BT-110": tax, "BT-112": gross, "BT-115": gross}
    return facturx.generate_xml(invoice, flavor=flavor, level="en16931", check_schematron=False)


def read(xml, **options):
    return facturx.parse_ubl_cii_xml(xml, **options)


for quantity in (1234.56, 12345.67, 123456.5, 1000000, "12345.67"):
    for flavor in ("factur-x", "ubl-2.1"):
        try:
            (line,) = read(write(quantity, flavor))["BG-25"]
        except Exception as error:
            print(f"{quantity!r} {flavor}: refused by the schema, {str(error).split(': ')[2].split(' of ')[0]}")
        else:
            again = Decimal(line["BT-129"]) * PRICE
            print(f"{quantity!r} {flavor}: quantity {line['BT-129']}, times the price {again:.3f}, total {line['BT-131']}")
valid = write("12345.67", "ubl-2.1")
copy = facturx.generate_xml(read(valid, float_as="float"), flavor="ubl-2.1", level="en16931", check_schematron=False)
print("read with float_as and written again:", read(valid)["BG-25"][0]["BT-129"], "becomes", read(copy)["BG-25"][0]["BT-129"])
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
1234.56 factur-x: quantity 1234.56, times the price 308.640, total 308.64
1234.56 ubl-2.1: quantity 1234.56, times the price 308.640, total 308.64
12345.67 factur-x: quantity 12345.7, times the price 3086.425, total 3086.42
12345.67 ubl-2.1: quantity 12345.7, times the price 3086.425, total 3086.42
123456.5 factur-x: quantity 123456, times the price 30864.000, total 30864.12
123456.5 ubl-2.1: quantity 123456, times the price 30864.000, total 30864.12
1000000 factur-x: refused by the schema, '1e+06' is not a valid value
1000000 ubl-2.1: refused by the schema, '1e+06' is not a valid value
'12345.67' factur-x: quantity 12345.67, times the price 3086.418, total 3086.42
'12345.67' ubl-2.1: quantity 12345.67, times the price 3086.418, total 3086.42
read with float_as and written again: 12345.67 becomes 12345.7
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'factur-x no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
