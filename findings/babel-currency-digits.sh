#!/usr/bin/env bash
# Babel 2.19.0 prints 12.50 Colombian pesos as COP12, which 2.18.0 printed in full; 0.750 Iraqi dinars are IQD1 in both.
#
# ISO 4217 gives pesos and forints 2 decimals and the Iraqi dinar 3, and amounts on invoices and in payment files may have them.
# py-moneyed 3.0 (and so django-money) prints amounts with Babel.
# Guess: format_currency() rounds to the currency's decimals, those of ISO 4217, in each version; "natural number of decimal
#        digits" says its documentation.
# Seen:  it takes them from CLDR, whose documentation (UTS 35) says that they may differ from the minor units of ISO 4217. With
#        2.19 the forint, the peso and more have none. In py-moneyed an amount of 750 sub-units prints as IQD1, of 250 as IQD0.
# So: on invoices give the decimals yourself: a format, and currency_digits=False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'py-moneyed==3.0' 'iso4217==1.16.20260101' 2>/dev/null
for version in 2.18.0 2.19.0; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --target "$work/$version" "babel==$version" 2>/dev/null
done

cat > "$work/seen.py" <<'PY'
from decimal import Decimal

import babel
from babel.numbers import format_currency
from iso4217 import Currency
from moneyed import Money
from moneyed.l10n import format_money

amounts = {"COP": ["12.50"], "HUF": ["1234.56"], "IQD": ["0.750", "0.250"], "KWD": ["0.250"], "EUR": ["19.99"]}
for amount, code in [(amount, code) for code in amounts for amount in amounts[code]]:
    pattern = f"#,##0.{'0' * Currency(code).exponent}"
    money = Money(amount, code)
    print(f"babel {babel.__version__}: {amount} {code} is {format_currency(Decimal(amount), code, locale='en')}, with a format "
          f"{format_currency(Decimal(amount), code, pattern, locale='en', currency_digits=False)}, "
          f"py-moneyed {format_money(money, locale='en')} of {money.get_amount_in_sub_unit()} sub-units")
PY
seen=$(for version in 2.18.0 2.19.0; do PYTHONPATH=$work/$version "$work/venv/bin/python" "$work/seen.py"; done)
expected='babel 2.18.0: 12.50 COP is COP12.50, with a format 12.50, py-moneyed COP12.50 of 1250 sub-units
babel 2.18.0: 1234.56 HUF is HUF1,234.56, with a format 1,234.56, py-moneyed HUF1,234.56 of 123456 sub-units
babel 2.18.0: 0.750 IQD is IQD1, with a format 0.750, py-moneyed IQD1 of 750 sub-units
babel 2.18.0: 0.250 IQD is IQD0, with a format 0.250, py-moneyed IQD0 of 250 sub-units
babel 2.18.0: 0.250 KWD is KWD0.250, with a format 0.250, py-moneyed KWD0.250 of 250 sub-units
babel 2.18.0: 19.99 EUR is €19.99, with a format 19.99, py-moneyed €19.99 of 1999 sub-units
babel 2.19.0: 12.50 COP is COP12, with a format 12.50, py-moneyed COP12 of 1250 sub-units
babel 2.19.0: 1234.56 HUF is HUF1,235, with a format 1,234.56, py-moneyed HUF1,235 of 123456 sub-units
babel 2.19.0: 0.750 IQD is IQD1, with a format 0.750, py-moneyed IQD1 of 750 sub-units
babel 2.19.0: 0.250 IQD is IQD0, with a format 0.250, py-moneyed IQD0 of 250 sub-units
babel 2.19.0: 0.250 KWD is KWD0.250, with a format 0.250, py-moneyed KWD0.250 of 250 sub-units
babel 2.19.0: 19.99 EUR is €19.99, with a format 19.99, py-moneyed €19.99 of 1999 sub-units'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Babel or py-moneyed no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
