#!/usr/bin/env bash
# RabbitMQ 4.3.6 with python-qpid-proton 0.40.0 and pika 1.3.2: a text sent by AMQP 1.0 reaches an AMQP 0-9-1 consumer with five bytes before it.
#
# Another team publishes orders by AMQP 1.0, which RabbitMQ 4 speaks without a plugin, and writes Message(body=json.dumps(order)).
# Guess: the broker hands the text on as the body, as UTF-8; content_type application/json says what it is.
# Seen:  AMQP 1.0 sends a text as an "amqp-value" section, and the broker puts that section as it is on the wire into the body: constructor,
#        type and length stand before the text, and content_type still says application/json. Only the property type = "amqp-1.0" tells.
#        Bytes that the sender did not mark as inferred go the same way. A message_id of more than 255 bytes is no property any more:
#        it is the header x-message-id.
# So: senders write a data section (bytes, inferred=True); a consumer that sees type "amqp-1.0" can say why the body is not JSON.
set -euo pipefail
command -v cc > /dev/null || { echo "needs a C compiler: python-qpid-proton comes as source" >&2; exit 69; }
[ "$(id -u)" = 0 ] || { echo "needs root: the broker runs with a /usr of its own" >&2; exit 69; }
work=$(mktemp -d)
broker=
stop() { [ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait 2>/dev/null || true; pkill -f "epmd -port 25942" || true; rm -rf "$work"; }
trap stop EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'python-qpid-proton==0.40.0' 'pika==1.3.2' 2>/dev/null

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
printf 'log.console = false\n' > "$work/data/rabbitmq.conf"
env -i HOME="$work/data/home" PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=25940 RABBITMQ_DIST_PORT=25941 \
    ERL_EPMD_PORT=25942 ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    RABBITMQ_MNESIA_BASE="$work/data/mnesia" RABBITMQ_LOG_BASE="$work/data/log" RABBITMQ_PID_FILE="$work/data/pid" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$work/data/none" RABBITMQ_CONFIG_FILE="$work/data/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$work/data/none" \
    unshare --mount --propagation private -- sh -c 'mount --bind "$0" /usr && exec /usr/lib/rabbitmq/bin/rabbitmq-server' \
    "$work/root/usr" > "$work/broker.log" 2>&1 &
broker=$!
for _ in $(seq 120); do (exec 3<>/dev/tcp/127.0.0.1/25940) 2>/dev/null && break; sleep 0.5; done

cat > "$work/seen.py" <<'PY'
import pika
from proton import Message
from proton.utils import BlockingConnection

TEXT = '{"order_id": "A-1"}'
reader = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 25940)).channel()
reader.queue_declare("orders", durable=True, arguments={"x-queue-type": "quorum"})
connection = BlockingConnection("amqp://guest:guest@127.0.0.1:25940", allowed_mechs="PLAIN")
sender = connection.create_sender("/queues/orders")


def receive():
    while True:
        delivered, properties, body = reader.basic_get("orders", auto_ack=True)
        if delivered:
            return properties, body


for name, message in (
    ("text", Message(body=TEXT, content_type="application/json", durable=True)),
    ("bytes", Message(body=TEXT.encode(), content_type="application/json", durable=True)),
    ("data section", Message(body=TEXT.encode(), inferred=True, content_type="application/json", durable=True)),
):
    sender.send(message)
    properties, body = receive()
    print(f"{name}: {body!r}, content_type {properties.content_type}, type {properties.type}")
sender.send(Message(body=b"{}", inferred=True, durable=True, id="A" * 300))
properties, body = receive()
print("message_id of 300 characters:", properties.message_id, "; header x-message-id:", len(properties.headers["x-message-id"]))
connection.close()
PY
seen=$("$work/venv/bin/python" "$work/seen.py" 2>/dev/null)
expected='text: b'"'"'\x00Sw\xa1\x13{"order_id": "A-1"}'"'"', content_type application/json, type amqp-1.0
bytes: b'"'"'\x00Sw\xa0\x13{"order_id": "A-1"}'"'"', content_type application/json, type amqp-1.0
data section: b'"'"'{"order_id": "A-1"}'"'"', content_type application/json, type None
message_id of 300 characters: None ; header x-message-id: 300'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'RabbitMQ or a client no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
