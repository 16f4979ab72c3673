#!/usr/bin/env bash
# python-barcode 0.16.1 prints another article number than the one it was given, if the check digit is wrong.
#
# A label is printed from the GTIN that stands in a shop's product list: 13 digits, the last of them a check digit.
# Guess: the check digit is there to find a mistyped number, so a number whose check digit is wrong is refused.
# Seen:  the last digit is thrown away and reckoned anew. EAN-13, UPC-A and ISBN-13 answer with a valid code of a number that
#        nobody wrote: 5901324123457 (two digits swapped) is printed as 5901324123459, which every scanner accepts.
# So: check the number (python-stdnum does) before a label is made of it, and compare the code's text with what was asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'python-barcode==0.16.1' 'python-stdnum==2.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import barcode
from stdnum import ean

for kind, name, number in (
    ("ean13", "right", "5901234123457"),
    ("ean13", "two digits swapped", "5901324123457"),
    ("upca", "last digit mistyped", "036000291453"),
    ("isbn13", "last digit mistyped", "9780306406150"),
):
    print(f"{kind} {name}: {number} becomes {barcode.get(kind, number).get_fullcode()}, stdnum calls it valid: {ean.is_valid(number)}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='ean13 right: 5901234123457 becomes 5901234123457, stdnum calls it valid: True
ean13 two digits swapped: 5901324123457 becomes 5901324123459, stdnum calls it valid: False
upca last digit mistyped: 036000291453 becomes 036000291452, stdnum calls it valid: False
isbn13 last digit mistyped: 9780306406150 becomes 9780306406157, stdnum calls it valid: False'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'python-barcode no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
