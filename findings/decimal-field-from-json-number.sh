#!/usr/bin/env bash
# A field declared as Decimal holds 2.67499999... when the JSON says 2.675: dataclasses-json 0.6.7, mashumaro 3.23 and others.
#
# JSON numbers have decimal digits and no limit of them; a field is declared as Decimal so that an amount stays as it was written.
# Guess: the number's digits go into the Decimal.
# Seen:  dataclasses-json, mashumaro, pyserde 0.34.0 and apischema 0.19.0 read a binary float first and keep all its 50 digits:
#        a price of 2.675 rounds (half up) to 2.67, and 12.10 is not equal to 12.10. marshmallow 3.26.2 and pydantic 2.14.4 take
#        the float's shortest text, which is right for 15 digits: 12345678901234567.89 becomes 12345678901234568, in pydantic
#        although it reads the JSON itself. msgspec 0.23.0 keeps every digit, as json.loads(parse_float=Decimal) does.
# So: send amounts as text or as whole minor units, or read with msgspec.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dataclasses-json==0.6.7' 'mashumaro==3.23' 'pyserde==0.34.0' \
    'apischema==0.19.0' 'marshmallow==3.26.2' 'pydantic==2.14.4' 'msgspec==0.23.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import json
import warnings
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

warnings.simplefilter("ignore")
import apischema
import marshmallow
import msgspec
import pydantic
import serde.json
from dataclasses_json import dataclass_json
from mashumaro.mixins.json import DataClassJSONMixin


@dataclass_json
@dataclass
class Line:
    price: Decimal


@dataclass
class MashumaroLine(DataClassJSONMixin):
    price: Decimal


@serde.serde
class SerdeLine:
    price: Decimal


class MarshmallowLine(marshmallow.Schema):
    price = marshmallow.fields.Decimal()


class PydanticLine(pydantic.BaseModel):
    price: Decimal


class MsgspecLine(msgspec.Struct):
    price: Decimal


readers = {
    "dataclasses-json": lambda text: Line.from_json(text).price,
    "mashumaro": lambda text: MashumaroLine.from_json(text).price,
    "pyserde": lambda text: serde.json.from_json(SerdeLine, text).price,
    "apischema": lambda text: apischema.deserialize(Line, json.loads(text)).price,
    "marshmallow": lambda text: MarshmallowLine().loads(text)["price"],
    "pydantic": lambda text: PydanticLine.model_validate_json(text).price,
    "msgspec": lambda text: msgspec.json.decode(text, type=MsgspecLine).price,
    "parse_float": lambda text: json.loads(text, parse_float=Decimal)["price"],
}
for name, read in readers.items():
    results = []
    for number in ("12.10", "2.675", "12345678901234567.89"):
        price = read(f'{{"price": {number}}}')
        cents = price.quantize(Decimal("0.01"), ROUND_HALF_UP)
        results.append(f"{number} {'equal' if price == Decimal(number) else 'other'}, in cents {cents}")
    print(f"{name}: " + "; ".join(results))
PY
seen=$("$work/venv/bin/python" "$work/seen.py" 2>/dev/null)
expected='dataclasses-json: 12.10 other, in cents 12.10; 2.675 other, in cents 2.67; 12345678901234567.89 other, in cents 12345678901234568.00
mashumaro: 12.10 other, in cents 12.10; 2.675 other, in cents 2.67; 12345678901234567.89 other, in cents 12345678901234568.00
pyserde: 12.10 other, in cents 12.10; 2.675 other, in cents 2.67; 12345678901234567.89 other, in cents 12345678901234568.00
apischema: 12.10 other, in cents 12.10; 2.675 other, in cents 2.67; 12345678901234567.89 other, in cents 12345678901234568.00
marshmallow: 12.10 equal, in cents 12.10; 2.675 equal, in cents 2.68; 12345678901234567.89 other, in cents 12345678901234568.00
pydantic: 12.10 equal, in cents 12.10; 2.675 equal, in cents 2.68; 12345678901234567.89 other, in cents 12345678901234568.00
msgspec: 12.10 equal, in cents 12.10; 2.675 equal, in cents 2.68; 12345678901234567.89 equal, in cents 12345678901234567.89
parse_float: 12.10 equal, in cents 12.10; 2.675 equal, in cents 2.68; 12345678901234567.89 equal, in cents 12345678901234567.89'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the readers no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
