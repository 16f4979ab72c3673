#!/usr/bin/env bash
# jcs 0.2.1: two orders with different numbers have one canonical form, so one signature, hash and idempotency key.
#
# RFC 8785 (JCS) defines the one form of a JSON document that is signed or hashed. Its numbers are JavaScript's: whole numbers are
# exact up to 2^53, of 16 digits. Order numbers of marketplaces and snowflake ids have 17 to 19, and Python keeps them all.
# Guess: a number that JavaScript cannot hold is refused, as rfc8785 0.1.4 does, or kept, as canonicaljson 2.0.0 does (it is no JCS).
# Seen:  jcs rounds without a word: order 112233445566778891 is ...778900 in the signed bytes, and so are its neighbours. Twenty orders
#        with numbers one after the other have two hashes: the other eighteen pass for copies, and a signature that was made for one
#        of them is valid for the others. What is sent beside it still has the number.
# So: write long numbers as text, as the RFC advises; or take rfc8785, which refuses them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jcs==0.2.1' 'rfc8785==0.1.4' 'canonicaljson==2.0.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import hashlib

import canonicaljson
import jcs
import rfc8785


def canonical(write, document):
    try:
        return write(document).decode()
    except ValueError:
        return "refused"


WRITERS = {"jcs": jcs.canonicalize, "rfc8785": rfc8785.dumps, "canonicaljson": canonicaljson.encode_canonical_json}
NUMBERS = range(112233445566778891, 112233445566778911)
for name, write in WRITERS.items():
    forms = [canonical(write, {"order": number}) for number in NUMBERS]
    hashes = {hashlib.sha256(form.encode()).hexdigest() for form in forms if form != "refused"}
    print(f"{name}: {forms[0]}; {len(forms)} orders one after the other have {len(hashes)} hashes, {forms.count('refused')} refused")
    print(f"{name}: as text {canonical(write, {'order': str(NUMBERS[0])})}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='jcs: {"order":112233445566778900}; 20 orders one after the other have 2 hashes, 0 refused
jcs: as text {"order":"112233445566778891"}
rfc8785: refused; 20 orders one after the other have 0 hashes, 20 refused
rfc8785: as text {"order":"112233445566778891"}
canonicaljson: {"order":112233445566778891}; 20 orders one after the other have 20 hashes, 0 refused
canonicaljson: as text {"order":"112233445566778891"}'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
