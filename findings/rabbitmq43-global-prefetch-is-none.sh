#!/usr/bin/env bash
# RabbitMQ 4.3.6 with pika 1.4.4: a global prefetch is answered with basic.qos-ok, and is none.
#
# 4.3 denies the deprecated feature global_qos by default. A channel that must not have more than two messages unacked, whatever
# number of consumers it has, sends basic.qos with prefetch_count 2 and global.
# Guess: a broker that denies it closes the channel or the connection, as it does for other features it denies; or the limit holds.
# Seen:  the answer is basic.qos-ok, the channel stays open, and the broker writes an error into its own log. The limit is applied to
#        each consumer of the channel: three consumers hold six messages. Nothing tells the client.
# So: search the broker's log for "global_qos" before an upgrade; set the prefetch of each consumer, with one consumer a channel.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root: the broker runs with a /usr of its own" >&2; exit 69; }
work=$(mktemp -d)
broker=
stop() { [ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait 2>/dev/null || true; pkill -f "epmd -port 25952" || true; rm -rf "$work"; }
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
    RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=25950 RABBITMQ_DIST_PORT=25951 \
    ERL_EPMD_PORT=25952 ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    RABBITMQ_MNESIA_BASE="$work/data/mnesia" RABBITMQ_LOG_BASE="$work/data/log" RABBITMQ_PID_FILE="$work/data/pid" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$work/data/none" RABBITMQ_CONFIG_FILE="$work/data/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$work/data/none" \
    unshare --mount --propagation private -- sh -c 'mount --bind "$0" /usr && exec /usr/lib/rabbitmq/bin/rabbitmq-server' \
    "$work/root/usr" > "$work/broker.log" 2>&1 &
broker=$!
for _ in $(seq 120); do (exec 3<>/dev/tcp/127.0.0.1/25950) 2>/dev/null && break; sleep 0.5; done

cat > "$work/seen.py" <<'PY'
import sys
import time

import pika

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 25950))
channel = connection.channel()
print("RabbitMQ", connection._impl.server_properties["version"])
channel.queue_declare("work", durable=True)
for _ in range(20):
    channel.basic_publish("", "work", b"x")
channel.basic_qos(prefetch_count=2, global_qos=True)
got = []
for _ in range(3):
    channel.basic_consume("work", lambda *message: got.append(message))
until = time.monotonic() + 3
while time.monotonic() < until:
    connection.process_data_events(0.2)
print(f"channel open {channel.is_open}, unacked of three consumers with a global prefetch of 2: {len(got)}")
connection.close()
print("in the broker's log:", "Feature `global_qos` is deprecated." in open(sys.argv[1]).read())
PY
seen=$("$work/venv/bin/python" "$work/seen.py" "$work/data/log/broker.log")
expected="RabbitMQ 4.3.6
channel open True, unacked of three consumers with a global prefetch of 2: 6
in the broker's log: True"
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
