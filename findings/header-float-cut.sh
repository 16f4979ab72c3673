#!/usr/bin/env bash
# A float in a message's headers loses its decimals in pika 1.4.4, and its seventh digit in aio-pika 10.2.1.
#
# In a table of headers AMQP 0-9-1 has two types for it, "f" of 32 bits and "d" of 64. RabbitMQ keeps the type, so the script
# hands the properties that one client writes straight to the other.
# Guess: a header is read as the float that was sent, by whichever client; a Python float is a "d".
# Seen:  pika cuts both types to a whole number: 19.99 is 19, a weight of 0.1 and a discount of -0.75 are 0. (It sends no floats.)
#        aio-pika sends "f": 19.99 is 19.989999771118164, 16777217.0 is 16777216.0, and time.time() is up to 64 seconds off.
#        From aio-pika to pika both happen. Kombu sends "d" and reads both right.
#        pamqp 6.0.0 sends "d" by its release notes; aiormq, AMQPStorm and rabbitpy require a pamqp below 5.
# So: send money, weights and times in headers as text or whole numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pika==1.4.4' 'aio-pika==10.2.1' 'aiormq==7.2.4' 'pamqp==4.0.1' 'kombu==5.7.0' 'amqp==5.4.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import aio_pika
import amqp
from pamqp import commands
from pika import spec

HEADERS = {"amount": 19.99, "weight_kg": 0.1, "discount": -0.75, "units": 16777217.0, "sent_at": 1767225663.5}


def read_by_pika(data):
    properties = spec.BasicProperties()
    properties.decode(data)
    return properties.headers


def read_by_aio_pika(data):
    properties = commands.Basic.Properties()
    properties.unmarshal(int.from_bytes(data[:2], "big"), data[2:])
    return properties.headers


def read_by_kombu(data):
    message = amqp.Message()
    message._load_properties(60, data, 0)
    return message.properties["application_headers"]


sent = {
    "aio-pika": aio_pika.Message(b"", headers=HEADERS).properties.marshal(),
    "kombu": amqp.Message(b"", application_headers=HEADERS)._serialize_properties(),
}
for name in HEADERS:
    print(f"{name} {HEADERS[name]!r}")
    for sender, data in sent.items():
        values = [float(read(data)[name]) for read in (read_by_pika, read_by_aio_pika, read_by_kombu)]
        print("  {}: pika reads {!r}, aio-pika {!r}, kombu {!r}".format(sender, *values))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='amount 19.99
  aio-pika: pika reads 19.0, aio-pika 19.989999771118164, kombu 19.989999771118164
  kombu: pika reads 19.0, aio-pika 19.99, kombu 19.99
weight_kg 0.1
  aio-pika: pika reads 0.0, aio-pika 0.10000000149011612, kombu 0.10000000149011612
  kombu: pika reads 0.0, aio-pika 0.1, kombu 0.1
discount -0.75
  aio-pika: pika reads 0.0, aio-pika -0.75, kombu -0.75
  kombu: pika reads 0.0, aio-pika -0.75, kombu -0.75
units 16777217.0
  aio-pika: pika reads 16777216.0, aio-pika 16777216.0, kombu 16777216.0
  kombu: pika reads 16777217.0, aio-pika 16777217.0, kombu 16777217.0
sent_at 1767225663.5
  aio-pika: pika reads 1767225600.0, aio-pika 1767225600.0, kombu 1767225600.0
  kombu: pika reads 1767225663.0, aio-pika 1767225663.5, kombu 1767225663.5'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the clients no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
