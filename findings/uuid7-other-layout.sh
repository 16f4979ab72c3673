#!/usr/bin/env bash
# uuid7 0.1.0: its version 7 UUIDs have the layout of a draft, so that every other reader dates them into the year 2203.
#
# A version 7 UUID begins with the time (RFC 9562: 48 bits of milliseconds), so rows sort by when they were made; PostgreSQL 18
# makes them too (uuidv7()). The package with the obvious name is of 2021 and says in its README which draft it follows.
# Guess: ids of one instant, both of version 7, begin alike, and a reader of the one dates the other.
# Seen:  the package writes 36 bits of seconds and then 24 of the fraction. The version says 7 all the same, so nothing tells the
#        two apart: read by the RFC an id of November 2026 is of February 2203, an id by the RFC is of 1983 to this package.
#        In one table all ids of this package sort behind all ids by the RFC: a reader that goes on from the last id it saw
#        ("id > last", as pages and outbox readers do) never sees what the database adds.
# So: the RFC's layout is in uuid6, uuid-utils, uuid7-standard and Python 3.14; never let two makers write one column.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'uuid7==0.1.0' 'uuid6==2025.0.1' 'uuid-utils==1.2.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import time
import uuid
from datetime import UTC, datetime
from unittest import mock

import uuid6
import uuid_utils
from uuid_extensions import uuid7, uuid_to_datetime


def by_rfc(id_):
    return f"{datetime.fromtimestamp(uuid_utils.UUID(str(id_)).timestamp / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def by_package(id_):
    return f"{uuid_to_datetime(uuid.UUID(str(id_))):%Y-%m-%d %H:%M:%S}"


def at(moment):
    nanoseconds = int(moment.timestamp()) * 10**9
    with mock.patch.object(time, "time_ns", return_value=nanoseconds):
        return uuid7(nanoseconds), uuid6.uuid7()


package, rfc = at(datetime(2026, 11, 29, 12, tzinfo=UTC))
_, later = at(datetime(2026, 11, 30, 12, tzinfo=UTC))
for name, id_ in (("uuid7", package), ("uuid6", rfc)):
    print(f"{name}: {str(id_)[:13]}, version {id_.version}, by RFC 9562 {by_rfc(id_)}, by uuid7 {by_package(id_)}")
print("an RFC id of the next day sorts behind an id of uuid7:", later > package)
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='uuid7: 06b0c13c-0000, version 7, by RFC 9562 2203-02-10 12:05:45, by uuid7 2026-11-29 12:00:00
uuid6: 01a2272d-2600, version 7, by RFC 9562 2026-11-29 12:00:00, by uuid7 1983-11-23 19:53:54
an RFC id of the next day sorts behind an id of uuid7: False'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the packages no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
