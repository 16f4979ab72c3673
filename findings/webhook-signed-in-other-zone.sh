#!/usr/bin/env bash
# standardwebhooks 1.1.0 and svix 2.9.1: a webhook signed in another time zone than UTC is refused by every receiver.
#
# By Standard Webhooks a message is signed together with its time, which is sent beside it as Unix seconds. Webhook.sign() takes
# a datetime. Both libraries are the reference for it, one by the standard's authors.
# Guess: a datetime with a zone is one moment, in whatever zone it is written; one without is local time, or is refused.
# Seen:  the zone is thrown away and the clock's reading is taken as UTC: 14:00+02:00 is signed as 14:00 UTC and not as 12:00. The
#        header has the right seconds, so the receiver finds no matching signature, although key, body and clock are right.
#        datetime.now() without a zone is right only where the machine's zone is UTC, as in most containers and tests.
# So: sign with datetime.now(UTC), or time.astimezone(UTC) for any other; verify your own signature once before sending.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'standardwebhooks==1.1.0' 'svix==2.9.1' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from base64 import b64encode
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import standardwebhooks.webhooks
import svix.webhooks

SECRET = "whsec_" + b64encode(b"a key of the example, no secret.").decode()
BODY = '{"type": "order.paid", "order": "A-1001"}'
now = datetime.now(UTC)
TIMES = {
    "in UTC": now,
    "in Berlin": now.astimezone(ZoneInfo("Europe/Berlin")),
    "in New York": now.astimezone(ZoneInfo("America/New_York")),
    "Berlin's again in UTC": now.astimezone(ZoneInfo("Europe/Berlin")).astimezone(UTC),
    "without a zone, on a machine in Tokyo": now.astimezone().replace(tzinfo=None),
}
for library in (standardwebhooks, svix):
    webhook = library.webhooks.Webhook(SECRET)
    for name, time in TIMES.items():
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())),
                   "webhook-signature": webhook.sign("msg_1", time, BODY)}
        try:
            webhook.verify(BODY, headers)
            seen = "accepted"
        except library.webhooks.WebhookVerificationError as error:
            seen = f"refused: {error}"
        print(f"{library.__name__}: {name}: {seen}")
PY
seen=$(TZ=Asia/Tokyo "$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
standardwebhooks: in UTC: accepted
standardwebhooks: in Berlin: refused: No matching signature found
standardwebhooks: in New York: refused: No matching signature found
standardwebhooks: Berlin's again in UTC: accepted
standardwebhooks: without a zone, on a machine in Tokyo: refused: No matching signature found
svix: in UTC: accepted
svix: in Berlin: refused: No matching signature found
svix: in New York: refused: No matching signature found
svix: Berlin's again in UTC: accepted
svix: without a zone, on a machine in Tokyo: refused: No matching signature found
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
