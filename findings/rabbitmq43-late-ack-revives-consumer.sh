#!/usr/bin/env bash
# RabbitMQ 4.3.6: a consumer cancelled for its consumer_timeout gets more messages as soon as it acks late.
#
# The broker sends basic.cancel to a consumer (AMQP 0-9-1, quorum queue) that holds a delivery for too long, and returns the
# message to the queue. In AMQP a cancelled consumer gets no further deliveries.
# Guess: the late ack is refused or ignored, and the queue has no consumer any more.
# Seen:  the queue still counts the consumer. The late ack is accepted, does not settle the message, and makes the consumer
#        active again: the same message and later ones are delivered under the cancelled consumer tag. The client has forgotten
#        that tag: pika 1.4.4 logs "Unexpected delivery" and drops them. They are neither ready nor handled until the next
#        timeout or the end of the connection, while connection and channel look healthy.
# So: after such a basic.cancel close the channel, and never ack on it what was delivered before.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root: the broker runs with a /usr of its own" >&2; exit 69; }
work=$(mktemp -d)
broker=
stop() { [ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait 2>/dev/null || true; pkill -f "epmd -port 25932" || true; rm -rf "$work"; }
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
printf 'consumer_timeout = 5000\nlog.console = false\n' > "$work/data/rabbitmq.conf"
env -i HOME="$work/data/home" PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=25930 RABBITMQ_DIST_PORT=25931 \
    ERL_EPMD_PORT=25932 ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    RABBITMQ_MNESIA_BASE="$work/data/mnesia" RABBITMQ_LOG_BASE="$work/data/log" RABBITMQ_PID_FILE="$work/data/pid" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$work/data/none" RABBITMQ_CONFIG_FILE="$work/data/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$work/data/none" \
    unshare --mount --propagation private -- sh -c 'mount --bind "$0" /usr && exec /usr/lib/rabbitmq/bin/rabbitmq-server' \
    "$work/root/usr" > "$work/broker.log" 2>&1 &
broker=$!
for _ in $(seq 120); do (exec 3<>/dev/tcp/127.0.0.1/25930) 2>/dev/null && break; sleep 0.5; done

cat > "$work/seen.py" <<'PY'
import logging
import time

import pika

parameters = pika.ConnectionParameters("127.0.0.1", 25930, heartbeat=60)
unexpected = []
logger = logging.getLogger("pika.channel")
logger.propagate = False
handler = logging.Handler()
handler.emit = lambda record: unexpected.append(record.getMessage())
logger.addHandler(handler)


def counts():
    declared = other.channel().queue_declare("work", passive=True).method
    return f"ready {declared.message_count}, consumers {declared.consumer_count}"


def pump(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.process_data_events(0.2)


connection, other = pika.BlockingConnection(parameters), pika.BlockingConnection(parameters)
channel, publisher = connection.channel(), other.channel()
print("RabbitMQ", connection._impl.server_properties["version"])
publisher.queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
publisher.confirm_delivery()
publisher.basic_publish("", "work", b"first")
tags, cancelled = [], []
channel.add_on_cancel_callback(cancelled.append)
channel.basic_consume("work", lambda _, method, *rest: tags.append(method.delivery_tag))
pump(7)
print(f"after the timeout: cancelled {len(cancelled)}, delivered {len(tags)}, {counts()}")
channel.basic_ack(tags[0])
pump(1)
print(f"after the late ack: channel open {channel.is_open}, dropped deliveries {len(unexpected)}, {counts()}")
publisher.basic_publish("", "work", b"second")
pump(1)
print(f"after one more message: delivered {len(tags)}, dropped deliveries {len(unexpected)}, {counts()}")
connection.close()
time.sleep(1)
print(f"after the connection has ended: {counts()}")
other.close()
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='RabbitMQ 4.3.6
after the timeout: cancelled 1, delivered 1, ready 1, consumers 1
after the late ack: channel open True, dropped deliveries 1, ready 0, consumers 1
after one more message: delivered 1, dropped deliveries 2, ready 0, consumers 1
after the connection has ended: ready 2, consumers 0'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
