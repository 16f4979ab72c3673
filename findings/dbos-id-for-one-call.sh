#!/usr/bin/env bash
# dbos 3.4.0: SetWorkflowID holds for one call; the next one in the same block runs again each time, and pays again.
#
# DBOS runs a workflow once for each workflow id and answers from its records when called again. A caller gives the id with
# `with SetWorkflowID(id):`, as for an order that may be delivered twice.
# Guess: every workflow called in the block is done once for that order, or the second call is refused.
# Seen:  the id goes to the first call. The second call gets a random one, so it runs anew whenever the block does: the order is
#        reserved once and paid twice, without a warning. Alone under the same id it is refused, since that is another function's.
#        The first function, called with the id and another order, answers for the first order and does nothing.
# So: one block and one id for each call ("A-1001/pay"), or one workflow around them that is called under the id.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dbos==3.4.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from dbos import DBOS, SetWorkflowID

DBOS(config={"name": "finding", "system_database_url": "sqlite:///records.sqlite", "log_level": "CRITICAL"})
runs = []


@DBOS.workflow()
def reserve(order):
    runs.append(f"reserve {order}")
    return f"reserved {order}"


@DBOS.workflow()
def pay(order):
    runs.append(f"pay {order}")
    return f"paid {order}"


@DBOS.workflow()
def handle(order):
    return [reserve(order), pay(order)]


DBOS.launch()
for _ in range(2):
    with SetWorkflowID("A-1001"):
        reserve("A-1001")
        pay("A-1001")
print("two calls in a block, which runs twice:", runs)
runs.clear()
for _ in range(2):
    with SetWorkflowID("A-1002"):
        handle("A-1002")
print("one call around both:", runs)
runs.clear()
with SetWorkflowID("A-1001"):
    try:
        pay("A-1001")
    except Exception as error:
        print("the other function under the id:", type(error).__name__, runs)
with SetWorkflowID("A-1001"):
    print("another order under the id:", reserve("A-1003"), runs)
DBOS.destroy()
PY
seen=$(cd "$work" && "$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
two calls in a block, which runs twice: ['reserve A-1001', 'pay A-1001', 'pay A-1001']
one call around both: ['reserve A-1002', 'pay A-1002']
the other function under the id: DBOSConflictingWorkflowError []
another order under the id: reserved A-1001 []
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'dbos no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
