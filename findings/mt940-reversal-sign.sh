#!/usr/bin/env bash
# mt-940 5.1.1: a reversed credit is read with a plus, so money that was taken back counts as money received.
#
# In a SWIFT MT940 statement the mark of a line is C, D, RC or RD. RC is the reversal of a credit: the bank takes
# the money back, as after a chargeback or a returned direct debit. RD is the reversal of a debit: money comes back.
# The statement below opens with EUR 1,000.00, has one line RC 12.50 and closes with EUR 987.50.
# Guess: the amount of the line is -12.50, as it is for D, and opening plus lines is closing.
# Seen:  +12.50, with the mark kept beside it. Only D gets a minus. Opening plus lines is 1,012.50, and the library
#        does not compare it with the closing balance that it has read.
# So: take the sign from `status` (D and RC are minus), and check opening + lines = closing yourself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mt-940==5.1.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import mt940

STATEMENT = """:20:STARTUMSE
:25:12345678/0123456789
:28C:00001/001
:60F:C260101EUR1000,00
:61:2601020102{mark}12,50NTRFREF1//B1
:86:order A-1001
:62F:C260102EUR{closing}
"""
for mark, closing in (("C", "1012,50"), ("D", "987,50"), ("RC", "987,50"), ("RD", "1012,50")):
    statement = mt940.parse(STATEMENT.format(mark=mark, closing=closing))
    (line,) = statement
    opening, closes = (statement.data[name].amount.amount for name in
                       ("final_opening_balance", "final_closing_balance"))
    amount = line.data["amount"].amount
    print(f"{mark:2} amount {amount:+} opening+lines {opening + amount} closing {closes}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='C  amount +12.50 opening+lines 1012.50 closing 1012.50
D  amount -12.50 opening+lines 987.50 closing 987.50
RC amount +12.50 opening+lines 1012.50 closing 987.50
RD amount +12.50 opening+lines 1012.50 closing 1012.50'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'mt-940 no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
