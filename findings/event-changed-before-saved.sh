#!/usr/bin/env bash
# eventsourcing 9.5.6: a line added to an order before its first save is there twice when the order is loaded.
#
# An aggregate is changed by events, which are kept and replayed to get it back; what is loaded must be what was saved.
# Guess: an event holds the values it was made with, as its class is frozen.
# Seen:  it holds the caller's list itself. __init__ puts the list into the aggregate, the next event appends to it, and the created
#        event, not saved yet, has the new line too. Replayed, the line is appended once more: an order of 30.00 comes back as
#        50.00, after a restart or in another process, while the object at hand is right. Saving after each change, as a test
#        may do, hides it. The list of any other event does the same, and a change
#        made without an event is saved if it is made early enough.
# So: copy what is mutable where it comes in (list(lines)), in __init__ and in every event method; or pass tuples.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'eventsourcing==9.5.6' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Order(Aggregate):
    def __init__(self, lines):
        self.lines = lines

    @event("LineAdded")
    def add(self, cents):
        self.lines.append(cents)

    @event("LinesReplaced")
    def replace(self, lines):
        self.lines = lines


class CopyingOrder(Order):
    def __init__(self, lines):
        self.lines = list(lines)


shop = Application()


def show(name, order):
    shop.save(order)
    print(f"{name}: {order.lines} at hand, {shop.repository.get(order.id).lines} loaded")


order = Order(lines=[1000])
order.add(2000)
show("a line added before the first save", order)

order = Order(lines=[1000])
shop.save(order)
order.add(2000)
show("the same with a save between", order)

order = Order(lines=[1000])
shop.save(order)
order.replace([3000])
order.add(2000)
show("lines replaced and one added, then saved", order)

order = Order(lines=[1000])
order.lines.append(2000)
show("changed without an event", order)

order = CopyingOrder(lines=[1000])
order.add(2000)
show("with the list copied in __init__", order)
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='a line added before the first save: [1000, 2000] at hand, [1000, 2000, 2000] loaded
the same with a save between: [1000, 2000] at hand, [1000, 2000] loaded
lines replaced and one added, then saved: [3000, 2000] at hand, [3000, 2000, 2000] loaded
changed without an event: [1000, 2000] at hand, [1000, 2000] loaded
with the list copied in __init__: [1000, 2000] at hand, [1000, 2000] loaded'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'eventsourcing no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
