#!/usr/bin/env bash
# RabbitMQ 4.3.6 with aio-pika 10.2.1: one handler slower than consumer_timeout closes the robust connection, all channels with it.
#
# The broker cancels a consumer that is late (basic.cancel). After that AMQP 0-9-1 lets the client use the consumer tag again, and
# aio-pika's robust queue does: it subscribes anew at once, under the same tag.
# Guess: the new basic.consume is answered with basic.consume-ok, and the queue is worked again.
# Seen:  for the broker the cancelled consumer goes on to exist as long as its channel. It answers the second basic.consume with
#        connection.close 530 NOT_ALLOWED "attempt to reuse consumer tag". So a late handler costs the whole connection: publishing
#        on its other channels fails meanwhile, and the message is delivered again after each reconnect, without an end.
# So: let a new tag be made for each subscription, on a new channel; keep publishing on another connection.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root: the broker runs with a /usr of its own" >&2; exit 69; }
work=$(mktemp -d)
broker=
stop() { [ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait 2>/dev/null || true; pkill -f "epmd -port 25932" || true; rm -rf "$work"; }
trap stop EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'aio-pika==10.2.1' 'aiormq==7.2.4' 2>/dev/null

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
import asyncio
import logging

import aio_pika

closed = []
for name in ("aiormq", "aio_pika"):
    logging.getLogger(name).propagate = False
logger = logging.getLogger("aiormq.connection")
handler = logging.Handler()
handler.emit = lambda record: closed.append(record.getMessage())
logger.addHandler(handler)


async def main():
    connection = await aio_pika.connect_robust("amqp://guest:guest@127.0.0.1:25930/", reconnect_interval=1)
    channel, other = await connection.channel(), await connection.channel()
    await channel.set_qos(prefetch_count=1)
    queue = await channel.declare_queue("work", durable=True, arguments={"x-queue-type": "quorum"})
    handled = []

    async def handle(message):
        handled.append(message.redelivered)
        await asyncio.sleep(7)
        await message.ack()

    await queue.consume(handle)
    await channel.default_exchange.publish(aio_pika.Message(b"slow"), "work")
    failed = 0
    for _ in range(40):
        await asyncio.sleep(0.5)
        try:
            await other.default_exchange.publish(aio_pika.Message(b"else"), "nowhere", mandatory=False)
        except Exception:
            failed += 1
    reasons = [text for text in closed if "reply_code=530" in text and "attempt to reuse consumer tag" in text]
    print("connection closed with 530, attempt to reuse consumer tag:", bool(reasons))
    print("publishing on the other channel failed meanwhile:", failed > 0)
    print("the one message was delivered again:", handled[0] is False and any(handled[1:]))
    await connection.close()


asyncio.run(main())
PY
seen=$("$work/venv/bin/python" "$work/seen.py" 2>/dev/null)
expected='connection closed with 530, attempt to reuse consumer tag: True
publishing on the other channel failed meanwhile: True
the one message was delivered again: True'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or aio-pika no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
