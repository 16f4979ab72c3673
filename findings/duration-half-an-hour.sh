#!/usr/bin/env bash
# isoduration 20.11.0: half an hour added to a time is a whole hour, and a quarter of an hour is nothing.
#
# The library reads ISO 8601 durations (jsonschema's "format" extra installs it) and adds them to datetimes, as for how long goods are
# reserved or a payment may take. ISO 8601 allows a fraction in the last place.
# Guess: PT0.5H is 30 minutes, as PT30M is; or a fraction that cannot be kept is refused.
# Seen:  the fraction is kept when parsed and rounded to whole hours, minutes, seconds, days or years when added: PT0.5H adds an hour,
#        PT0.25H nothing, PT1.5M two minutes, P1.5D two days. The parsed duration shows hours=0.5 and is written out as PT0.5H, so
#        only the sum is wrong. Months are rounded too: P1.5M from 31 January leads to 28 March. isodate adds what is written.
# So: write durations without fractions (PT30M, PT36H), refuse others on the way in, or add with isodate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'isoduration==20.11.0' 'isodate==0.7.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from datetime import datetime

import isodate
import isoduration

BEGIN = datetime(2026, 1, 31, 12)


def add(library, text):
    try:
        return BEGIN + library.parse_duration(text)
    except ValueError:
        return "refused"


for text in ("PT30M", "PT0.5H", "PT0.25H", "PT1.49H", "PT1.5M", "PT1.25S", "P1.5D", "P1.5Y", "P1.5M"):
    print(f"{BEGIN} + {text}: isoduration {add(isoduration, text)}, isodate {add(isodate, text)}")
print(isoduration.parse_duration("PT0.5H").time, "written out", isoduration.format_duration(isoduration.parse_duration("PT0.5H")))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
2026-01-31 12:00:00 + PT30M: isoduration 2026-01-31 12:30:00, isodate 2026-01-31 12:30:00
2026-01-31 12:00:00 + PT0.5H: isoduration 2026-01-31 13:00:00, isodate 2026-01-31 12:30:00
2026-01-31 12:00:00 + PT0.25H: isoduration 2026-01-31 12:00:00, isodate 2026-01-31 12:15:00
2026-01-31 12:00:00 + PT1.49H: isoduration 2026-01-31 13:00:00, isodate 2026-01-31 13:29:24
2026-01-31 12:00:00 + PT1.5M: isoduration 2026-01-31 12:02:00, isodate 2026-01-31 12:01:30
2026-01-31 12:00:00 + PT1.25S: isoduration 2026-01-31 12:00:01, isodate 2026-01-31 12:00:01.250000
2026-01-31 12:00:00 + P1.5D: isoduration 2026-02-02 12:00:00, isodate 2026-02-02 00:00:00
2026-01-31 12:00:00 + P1.5Y: isoduration 2028-01-31 12:00:00, isodate refused
2026-01-31 12:00:00 + P1.5M: isoduration 2026-03-28 12:00:00, isodate refused
TimeDuration(hours=Decimal('0.5'), minutes=Decimal('0'), seconds=Decimal('0')) written out PT0.5H
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'isoduration no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
