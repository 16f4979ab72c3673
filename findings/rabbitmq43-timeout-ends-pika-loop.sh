#!/usr/bin/env bash
# RabbitMQ 4.3.6 with pika 1.4.4: a handler slower than consumer_timeout ends start_consuming() as if it had been asked to.
#
# Up to 4.2 the broker answered a delivery that was not acked in time by closing the channel (406), which pika raises.
# Guess: a timed-out consumer still ends in an exception, so a worker process exits non-zero and is started again.
# Seen:  4.3 sends basic.cancel. With the last consumer of the channel gone, start_consuming() returns None; connection
#        and channel stay open, nothing is raised or logged. A script that ends after start_consuming() exits 0, and
#        systemd's Restart=on-failure leaves the queue without a consumer. consume() ends its loop in the same way.
# So: treat the return of start_consuming() as a failure, or use add_on_cancel_callback.
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
import time

import pika

parameters = pika.ConnectionParameters("127.0.0.1", 25930, heartbeat=60)
connection = pika.BlockingConnection(parameters)
channel = connection.channel()
print("RabbitMQ", connection._impl.server_properties["version"])
for queue in ("loop", "generator"):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", queue, b"work")
channel.basic_qos(prefetch_count=1)
channel.basic_consume("loop", lambda *delivery: None)  # its thread goes on working and acks later
began = time.monotonic()
result = channel.start_consuming()
print("start_consuming() returned", result, "after the timeout:", 4 < time.monotonic() - began < 20)
print("connection open:", connection.is_open, "channel open:", channel.is_open, "consumers:", channel.consumer_tags)
deliveries = [delivery for delivery in channel.consume("generator")]
print("consume() ended after", len(deliveries), "delivery")
connection.close()
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='RabbitMQ 4.3.6
start_consuming() returned None after the timeout: True
connection open: True channel open: True consumers: []
consume() ended after 1 delivery'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
