#!/usr/bin/env bash
# cloudevents 2.2.0: in binary mode the order number "7E12" arrives as 7000000000000.0, and a list of items as one text.
#
# A CloudEvent travels in one of two modes: structured (the whole event is one JSON object) or binary (attributes in headers,
# data as the body). By the specification the mode changes how an event is carried, not what it says. Bindings: HTTP, RabbitMQ.
# Guess: with content type application/json the body is the data as JSON, so what is read is what was sent, as in structured mode.
# Seen:  only a dict becomes JSON. A text is written bare and read as JSON: "12345" becomes the number 12345, "7E12" a float,
#        "null" nothing at all; "00123" stays a text, since it is no JSON. A list with texts in it or a bool is written as Python
#        shows it ("[{'sku': 'A-1'}]", "True"), under application/json; another reader refuses it, and this one hands on a text.
# So: in binary mode send a dict as data, or bytes that json.dumps() made.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cloudevents==2.2.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from cloudevents.core.bindings import http, rabbitmq
from cloudevents.core.v1.event import CloudEvent

same = True
attributes = {"type": "order.placed", "source": "/shop", "datacontenttype": "application/json"}
for data in ({"order": "7E12"}, "7E12", "12345", "00123", "null", True, [{"sku": "A-1", "quantity": 2}]):
    event = CloudEvent(attributes=attributes, data=data)
    message = rabbitmq.to_binary_event(event)
    read = rabbitmq.from_binary_event(message).get_data()
    structured = rabbitmq.from_structured_event(rabbitmq.to_structured_event(event)).get_data()
    same &= http.to_binary_event(event).body == message.body
    print(f"{data!r}: structured {structured!r}, binary {message.body.decode()} read as {read!r}")
print("the bodies by HTTP are the same:", same)
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
{'order': '7E12'}: structured {'order': '7E12'}, binary {"order": "7E12"} read as {'order': '7E12'}
'7E12': structured '7E12', binary 7E12 read as 7000000000000.0
'12345': structured '12345', binary 12345 read as 12345
'00123': structured '00123', binary 00123 read as '00123'
'null': structured 'null', binary null read as None
True: structured True, binary True read as 'True'
[{'sku': 'A-1', 'quantity': 2}]: structured [{'sku': 'A-1', 'quantity': 2}], binary [{'sku': 'A-1', 'quantity': 2}] read as "[{'sku': 'A-1', 'quantity': 2}]"
the bodies by HTTP are the same: True
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'cloudevents no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
