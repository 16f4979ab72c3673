#!/usr/bin/env bash
# avro 1.12.2 (Apache): with two decimals in the schema 12.5 is written as 1.25, and 1000 as 10.00.
#
# The logical type decimal holds an amount as a whole number of units; the schema says how many decimals a unit has (scale).
# The usual source of 12.5 is a float's text, JSON, normalize() or a multiplication: Decimal("12.5") == Decimal("12.50").
# Guess: 12.5 is written as 1250 hundredths, as fastavro does it; equal amounts are written as the same bytes.
# Seen:  the digits are written as they stand and the scale is never applied: 12.5 becomes 1.25, 1000 becomes 10.00 and 1E+3
#        0.01. Only an amount with as many decimals as the schema has survives, so tests with "12.50" pass. More decimals are
#        refused, fewer are not. Nor is the precision looked at when writing: of 123456.78 the reader makes 123457.
#        Another reader, fastavro 1.13.1, finds the same amounts in the file: they are lost for good.
# So: quantize every amount to the schema's scale before it is written, or write with fastavro.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'avro==1.12.2' 'fastavro==1.13.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import io
import json
from decimal import Decimal

import avro.datafile
import avro.io
import avro.schema
import fastavro

AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
SCHEMA = {"type": "record", "name": "Payment", "fields": [{"name": "amount", "type": AMOUNT}]}


def write_by_avro(file, payment):
    writer = avro.datafile.DataFileWriter(file, avro.io.DatumWriter(), avro.schema.parse(json.dumps(SCHEMA)))
    writer.append(payment)
    writer.flush()


def write_by_fastavro(file, payment):
    fastavro.writer(file, SCHEMA, [payment])


def read(file):
    file.seek(0)
    by_fastavro = [payment["amount"] for payment in fastavro.reader(file)]
    file.seek(0)
    by_avro = [payment["amount"] for payment in avro.datafile.DataFileReader(file, avro.io.DatumReader())]
    return f"avro {by_avro[0]}, fastavro {by_fastavro[0]}"


for text in ("12.50", "12.5", "-12.5", "1000.00", "1000", "1E+3", "12.345", "123456.78"):
    for write in (write_by_avro, write_by_fastavro):
        file = io.BytesIO()
        try:
            write(file, {"amount": Decimal(text)})
        except Exception:
            seen = "refused"
        else:
            seen = "read by " + read(file)
        print(f"{text} written {write.__name__.removeprefix('write_')}: {seen}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='12.50 written by_avro: read by avro 12.50, fastavro 12.50
12.50 written by_fastavro: read by avro 12.50, fastavro 12.50
12.5 written by_avro: read by avro 1.25, fastavro 1.25
12.5 written by_fastavro: read by avro 12.50, fastavro 12.50
-12.5 written by_avro: read by avro -1.25, fastavro -1.25
-12.5 written by_fastavro: read by avro -12.50, fastavro -12.50
1000.00 written by_avro: read by avro 1000.00, fastavro 1000.00
1000.00 written by_fastavro: read by avro 1000.00, fastavro 1000.00
1000 written by_avro: read by avro 10.00, fastavro 10.00
1000 written by_fastavro: read by avro 1000.00, fastavro 1000.00
1E+3 written by_avro: read by avro 0.01, fastavro 0.01
1E+3 written by_fastavro: read by avro 1000.00, fastavro 1000.00
12.345 written by_avro: refused
12.345 written by_fastavro: refused
123456.78 written by_avro: read by avro 123457, fastavro 123457
123456.78 written by_fastavro: refused'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'avro no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
