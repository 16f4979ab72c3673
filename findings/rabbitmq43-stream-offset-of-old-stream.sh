#!/usr/bin/env bash
# RabbitMQ 4.3.6 (and 3.10.8): a consumer that goes on where it was, in a stream that was made anew, misses the new messages.
#
# A consumer of a stream keeps the offset of its last message and asks for the next one (x-stream-offset). A stream that was deleted
# and declared again, or came out of a backup, counts from 0.
# Guess: an offset beyond the end is refused, or taken for the end, as the documentation has it ("clamp"): what is published from
#        then on arrives.
# Seen:  the consumer is accepted and gets nothing until the new stream has come as far as the old one. With offset 10, the ten new
#        messages 0 to 9 are never delivered, also those published after the consumer began; 10 is. After a million old messages
#        a million are left out, while connection and channel are healthy.
# So: keep the id of the last message with its offset, read that message again first, and begin at "first" if it is another.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root: the broker runs with a /usr of its own" >&2; exit 69; }
work=$(mktemp -d)
broker=
stop() { [ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait 2>/dev/null || true; pkill -f "epmd -port 25982" || true; rm -rf "$work"; }
trap stop EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pika==1.4.4' 2>/dev/null

# RabbitMQ 4.3.6-1 with its Erlang, from Debian forky, extracted and not installed.
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial,dpkg} "$work"/root "$work"/data/{home,mnesia,log}
: > "$work/apt/dpkg/status"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | grep -v security | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror forky main" > "$work/apt/sources.list"
private_apt() {
    apt-get -qq -y -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dir::Etc::SourceList="$work/apt/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$work/apt/state" \
        -o Dir::State::Status="$work/apt/dpkg/status" -o Dir::Cache="$work/apt/cache" "$@"
}
private_apt update > "$work/apt.log" 2>&1
private_apt install --download-only --no-install-recommends base-files rabbitmq-server=4.3.6-1 bash coreutils dash \
    findutils grep hostname libc-bin mawk netbase procps sed util-linux > "$work/apt.log" 2>&1
for deb in "$work"/apt/cache/archives/base-files_*.deb "$work"/apt/cache/archives/*.deb; do
    dpkg-deb --extract "$deb" "$work/root"
done
ln -sf mawk "$work/root/usr/bin/awk"
echo cookie > "$work/data/home/.erlang.cookie"
chmod 400 "$work/data/home/.erlang.cookie"
printf 'log.console = false\nlog.file = broker.log\n' > "$work/data/rabbitmq.conf"
env -i HOME="$work/data/home" PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=25980 RABBITMQ_DIST_PORT=25981 \
    ERL_EPMD_PORT=25982 ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    RABBITMQ_MNESIA_BASE="$work/data/mnesia" RABBITMQ_LOG_BASE="$work/data/log" RABBITMQ_PID_FILE="$work/data/pid" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$work/data/none" RABBITMQ_CONFIG_FILE="$work/data/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$work/data/none" \
    unshare --mount --propagation private -- sh -c 'mount --bind "$0" /usr && exec /usr/lib/rabbitmq/bin/rabbitmq-server' \
    "$work/root/usr" > "$work/broker.log" 2>&1 &
broker=$!
for _ in $(seq 120); do (exec 3<>/dev/tcp/127.0.0.1/25980) 2>/dev/null && break; sleep 0.5; done

cat > "$work/seen.py" <<'PY'
import time

import pika

ARGUMENTS = {"x-queue-type": "stream"}


def connect():
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 25980))


def publish(name, numbers):
    for number in numbers:
        channel.basic_publish("", "orders", f"{name} {number}".encode())


def listen(offset):
    connection, got = connect(), []

    def keep(consuming, method, properties, body):
        got.append((properties.headers["x-stream-offset"], body.decode()))

    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=100)
    consuming.basic_consume("orders", keep, arguments={"x-stream-offset": offset})
    return connection, got


def pump(connection, seconds=2):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.process_data_events(0.1)


def show(got):
    return ", ".join(f"{body} at {offset}" for offset, body in got) or "nothing"


publisher = connect()
print("RabbitMQ", publisher._impl.server_properties["version"])
channel = publisher.channel()
channel.confirm_delivery()
channel.queue_declare("orders", durable=True, arguments=ARGUMENTS)
publish("old", range(10))
connection, got = listen("first")
pump(connection)
connection.close()
following = int(got[-1][0]) + 1
print(f"the old stream was read up to {show(got[-1:])}; next is {following}")

channel.queue_delete("orders")
channel.queue_declare("orders", durable=True, arguments=ARGUMENTS)
publish("new", range(3))
connection, got = listen(following)
publish("new", range(3, 9))
pump(connection)
print("nine new messages, six of them after the consumer began; it got:", show(got))
publish("new", range(9, 12))
pump(connection)
print("three more; it got:", show(got))
connection.close()
publisher.close()
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='RabbitMQ 4.3.6
the old stream was read up to old 9 at 9; next is 10
nine new messages, six of them after the consumer began; it got: nothing
three more; it got: new 10 at 10, new 11 at 11'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
