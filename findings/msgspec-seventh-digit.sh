#!/usr/bin/env bash
# msgspec 0.22.0 rounds the seventh digit of a second up; Python's own datetime cuts it off: one text, two instants.
#
# .NET writes seven digits ("O" format), Go up to nine, so such times stand in many order exports.
# Guess: readers of one standard text (RFC 3339) agree, and none of them moves a time of December into January.
# Seen:  msgspec rounds half up: 23:59:59.9999999 of 31 December becomes 1 January of the next year, 00:00:00.
#        datetime.fromisoformat and pydantic-core 2 drop the digit: 23:59:59.999999. So a hash over the parsed time,
#        an "already seen" test or a report by day differs by which of them has read the order.
# So: decide on one reader for everything that is compared, and normalise (cut) before hashing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer")'
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'msgspec==0.22.0' 'pydantic==2.12.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from datetime import datetime

import msgspec
from pydantic import TypeAdapter

for text in ("2026-11-01T10:42:00.1234564Z", "2026-11-01T10:42:00.1234565Z", "2026-12-31T23:59:59.9999999Z"):
    of_msgspec = msgspec.json.decode(f'"{text}"', type=datetime)
    of_python = datetime.fromisoformat(text)
    of_pydantic = TypeAdapter(datetime).validate_python(text)
    print(f"{text}: msgspec {of_msgspec:%Y-%m-%d %H:%M:%S.%f}, fromisoformat {of_python:%Y-%m-%d %H:%M:%S.%f}, "
          f"pydantic {of_pydantic:%Y-%m-%d %H:%M:%S.%f}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='2026-11-01T10:42:00.1234564Z: msgspec 2026-11-01 10:42:00.123456, fromisoformat 2026-11-01 10:42:00.123456, pydantic 2026-11-01 10:42:00.123456
2026-11-01T10:42:00.1234565Z: msgspec 2026-11-01 10:42:00.123457, fromisoformat 2026-11-01 10:42:00.123456, pydantic 2026-11-01 10:42:00.123456
2026-12-31T23:59:59.9999999Z: msgspec 2027-01-01 00:00:00.000000, fromisoformat 2026-12-31 23:59:59.999999, pydantic 2026-12-31 23:59:59.999999'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the readers no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
