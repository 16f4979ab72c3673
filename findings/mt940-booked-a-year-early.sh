#!/usr/bin/env bash
# mt940-js 1.0.0 and mt940js 1.3.5: a payment booked on 2 January 2026 is dated 2 January 2025.
#
# A line of a SWIFT MT940 statement begins with two dates: the value date with its year (251231) and the booking date without (0102).
# The reader has to find the year of the second: the one that puts it next to the first.
# Guess: value date 31 December 2025, booked 0102: 2 January 2026, two days later, as mt-940 5.1.1 of Python reads it.
# Seen:  both Node.js libraries put the value date's year before it. What was booked in the first days of January for December is a
#        year too old, in an accounting year that is closed; a January value date booked on 31 December lies almost a year ahead.
#        Opening balance, lines and closing balance still agree, so checks of sums pass; all other days of the year are right.
# So: take the year that is nearest to the value date yourself, and test statements of the turn of the year.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'mt940-js@1.0.0' 'tslib@2.9.1' 'mt940js@1.3.5' >/dev/null 2>&1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'mt-940==5.1.1' 2>/dev/null

cat > statement.txt <<'STATEMENT'
:20:STARTUMSE
:25:12345678/0123456789
:28C:00001/001
:60F:C251230EUR1000,00
:61:2512301230D10,00NTRFREF1//B1
:86:value and booked on 30 December
:61:2512310102D20,00NTRFREF2//B2
:86:value 31 December, booked on 2 January
:61:2601021231D30,00NTRFREF3//B3
:86:value 2 January, booked on 31 December
:62F:C260102EUR940,00
STATEMENT
cat > seen.js <<'JS'
const { readFileSync } = require('fs')
const { Parser } = require('mt940js')
const { read } = require('mt940-js')

const text = readFileSync('statement.txt', 'latin1').replace(/\n/g, '\r\n')
const day = date => date.toISOString().slice(0, 10)
for (const line of new Parser().parse(text)[0].transactions) {
  console.log(`mt940js: value ${day(line.date)}, booked ${day(line.entryDate)}`)
}
read(Buffer.from(text)).then(([statement]) => {
  for (const line of statement.transactions) console.log(`mt940-js: value ${line.valueDate}, booked ${line.entryDate}`)
})
JS
cat > seen.py <<'PY'
import mt940

for line in mt940.parse("statement.txt"):
    print(f"mt-940: value {line.data['date']}, booked {line.data['entry_date']}")
PY
seen=$(TZ=UTC node seen.js && venv/bin/python seen.py)
expected='mt940js: value 2025-12-30, booked 2025-12-30
mt940js: value 2025-12-31, booked 2025-01-02
mt940js: value 2026-01-02, booked 2026-12-31
mt940-js: value 2025-12-30, booked 2025-12-30
mt940-js: value 2025-12-31, booked 2025-01-02
mt940-js: value 2026-01-02, booked 2026-12-31
mt-940: value 2025-12-30, booked 2025-12-30
mt-940: value 2025-12-31, booked 2026-01-02
mt-940: value 2026-01-02, booked 2025-12-31'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
