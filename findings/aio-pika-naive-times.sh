#!/usr/bin/env bash
# aio-pika 10.2.1: of two datetimes without a zone in one message, one is read as UTC and the other as local time.
#
# timestamp says when a message was made, expiration until when it is worth reading. Both take a datetime; the documentation says
# nothing about its zone.
# Guess: a datetime without a zone is local time, as it is to Python's own timestamp(), or UTC; but the same for both.
# Seen:  timestamp=datetime.now() is taken as UTC: in Tokyo the message is from nine hours ahead, so its age is negative.
#        expiration=datetime.now() + ten minutes is taken as local time and right. The other way round, with UTC for both, the
#        timestamp is right and the message has expired 530 minutes ago: its time to live is below zero.
#        On a machine whose zone is UTC all of them agree, so tests there do not tell.
# So: give datetimes a zone: datetime.now(UTC).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'aio-pika==10.2.1' 'aiormq==7.2.4' 'pamqp==4.0.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import os
import time
from datetime import UTC, datetime, timedelta

import aio_pika
from pamqp import commands

KINDS = {
    "local time, no zone": datetime.now,
    "UTC, no zone": lambda: datetime.now(UTC).replace(tzinfo=None),
    "UTC with its zone": lambda: datetime.now(UTC),
}
for zone in ("Asia/Tokyo", "America/Bogota", "UTC"):
    os.environ["TZ"] = zone
    time.tzset()
    for text, now in KINDS.items():
        message = aio_pika.Message(b"", timestamp=now(), expiration=now() + timedelta(minutes=10))
        data = message.properties.marshal()
        sent = commands.Basic.Properties()
        sent.unmarshal(int.from_bytes(data[:2], "big"), data[2:])
        ahead = round((sent.timestamp.timestamp() - time.time()) / 60)
        print(f"{zone}, {text}: timestamp {ahead} minutes ahead, expires in {round(int(sent.expiration) / 60000)} minutes")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='Asia/Tokyo, local time, no zone: timestamp 540 minutes ahead, expires in 10 minutes
Asia/Tokyo, UTC, no zone: timestamp 0 minutes ahead, expires in -530 minutes
Asia/Tokyo, UTC with its zone: timestamp 0 minutes ahead, expires in 10 minutes
America/Bogota, local time, no zone: timestamp -300 minutes ahead, expires in 10 minutes
America/Bogota, UTC, no zone: timestamp 0 minutes ahead, expires in 310 minutes
America/Bogota, UTC with its zone: timestamp 0 minutes ahead, expires in 10 minutes
UTC, local time, no zone: timestamp 0 minutes ahead, expires in 10 minutes
UTC, UTC, no zone: timestamp 0 minutes ahead, expires in 10 minutes
UTC, UTC with its zone: timestamp 0 minutes ahead, expires in 10 minutes'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'aio-pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
