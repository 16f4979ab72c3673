#!/usr/bin/env bash
# prices 1.1.1: a discount takes the same amount from net and gross, so the customer still pays the tax of the full price.
#
# The library (by the makers of the shop software Saleor; also behind django-prices) holds a price as TaxedMoney: net and gross.
# Guess: 10 % off 100.00 net, 119.00 gross is 90.00 and 107.10: a tenth off both, the tax rate stays 19 %.
# Seen:  a tenth of the gross, 11.90, is taken from both: 88.10 and 107.10. The tax stays 19.00, which is 21.57 % of the net.
#        With from_gross=False a tenth of the net is taken from both: 90.00 and 109.00. Half off leaves a rate of 46.91 %, and
#        at 85 % the net is 0.00 and the gross 17.85. Price * 0.9 takes a tenth of each.
#        The docstring says "based on either gross or net amount"; from what it is taken it does not say.
# So: discount one of the two and work out the other by the tax rate, or multiply the price by what is left.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'prices==1.1.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from decimal import Decimal

from prices import Money, TaxedMoney, percentage_discount


def show(text, price):
    net, gross = price.net.amount, price.gross.amount
    rate = f"{(gross - net) / net:.2%}" if net else "none"
    print(f"{text}: net {net:.2f} gross {gross:.2f} tax {gross - net:.2f} rate {rate}")


price = TaxedMoney(net=Money("100.00", "EUR"), gross=Money("119.00", "EUR"))
show("full price", price)
for percentage in (10, 50, 85):
    show(f"{percentage} % off", percentage_discount(price, percentage))
show("10 % off from net", percentage_discount(price, 10, from_gross=False))
show("price * 0.9", (price * Decimal("0.9")).quantize())
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='full price: net 100.00 gross 119.00 tax 19.00 rate 19.00%
10 % off: net 88.10 gross 107.10 tax 19.00 rate 21.57%
50 % off: net 40.50 gross 59.50 tax 19.00 rate 46.91%
85 % off: net 0.00 gross 17.85 tax 17.85 rate none
10 % off from net: net 90.00 gross 109.00 tax 19.00 rate 21.11%
price * 0.9: net 90.00 gross 107.10 tax 17.10 rate 19.00%'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'prices no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
