#!/usr/bin/env bash
# quiffen 4.0.1 reads the amount 12,50 of a QIF file as 1250, and the dates of one file in two orders.
#
# Banks of half of Europe export QIF with a decimal comma and the day first; the format says nothing about either.
# Guess: a comma that two digits follow is a decimal mark or an error; and one file has one order of day and month.
# Seen:  every comma is dropped, so 12,50 is 1250 (a hundred times) and 1.234,56 is 1.23456 (a thousandth), without a word. A
#        date is month first where that is possible and day first where it is not: 01/02 is January, 13/02 two lines on is February.
#        day_first=True mends the dates; there is no setting for amounts.
# So: turn amounts of such files into a decimal point before they are parsed, give day_first, and compare a sum with the bank's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'quiffen==4.0.1' 'python-dateutil==2.9.0.post0' 2>/dev/null
printf '!Type:Bank\nD01/02/2026\nT-12,50\n^\nD13/02/2026\nT1.234,56\n^\nD14/02/2026\nT12.50\n^\n' > "$work/statement.qif"

cat > "$work/seen.py" <<'PY'
import sys

from quiffen import Qif

for options in ({}, {"day_first": True}):
    for account in Qif.parse(sys.argv[1], **options).accounts.values():
        for transactions in account.transactions.values():
            for each in transactions:
                print(f"{options}: {each.date:%Y-%m-%d} {each.amount}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py" "$work/statement.qif")
expected="{}: 2026-01-02 -1250
{}: 2026-02-13 1.23456
{}: 2026-02-14 12.50
{'day_first': True}: 2026-02-01 -1250
{'day_first': True}: 2026-02-13 1.23456
{'day_first': True}: 2026-02-14 12.50"
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'quiffen no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
