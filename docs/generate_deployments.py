"""Write what follows from the shop's queues in deploy/: Kubernetes' consumers and RabbitMQ's definitions."""

import json
from pathlib import Path

from ordermq import shop
from ordermq.cli.program import registry_of
from ordermq.topology import build
from ordermq.topology.names import DEAD

DEPLOY = Path(__file__).parents[1] / "deploy"
VHOST = "shop"
_HEAD = "# Written by make docs from {} for each queue of the shop.\n"
# What each user may do, as docs/operations.md says; a user without a password cannot log in.
_USERS = {
    "ordermq-admin": (r"^orders(\..*)?$", r"^orders(\..*)?$", r"^orders(\..*)?$"),
    "ordermq-relay": ("^$", "^orders$", "^$"),
    "ordermq-consumer": ("^$", "^$", r"^orders\.[a-z0-9_-]+$"),
}


def deployments() -> dict[Path, str]:
    """Return the text of each file, by its path in deploy/."""
    queues = sorted(registry_of([shop.module]).queues)
    return {
        Path("kubernetes/consumers.yaml"): _each("kubernetes/consumer.yaml.in", [*queues, DEAD]),
        Path("kubernetes/scaling.yaml"): _each("kubernetes/scaling.yaml.in", queues),
        Path("rabbitmq/definitions.json"): json.dumps(_definitions(queues), indent=1) + "\n",
    }


def _each(template: str, queues: list[str]) -> str:
    text = (DEPLOY / template).read_text()
    return _HEAD.format(Path(template).name) + "---\n".join(text.replace("QUEUE", queue) for queue in queues)


def _definitions(queues: list[str]) -> dict[str, object]:
    topology = build("orders", queues)
    common = {"vhost": VHOST, "durable": True, "auto_delete": False}
    return {
        "vhosts": [{"name": VHOST, "default_queue_type": "quorum"}],
        "users": [
            {"name": name, "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256",
             "tags": ["management"] if name == "ordermq-admin" else []}
            for name in _USERS
        ],
        "permissions": [
            {"user": name, "vhost": VHOST, "configure": configure, "write": write, "read": read}
            for name, (configure, write, read) in _USERS.items()
        ],
        "exchanges": [
            {"name": each.name, "type": each.type, "internal": False, "arguments": {}} | common
            for each in topology.exchanges
        ],
        "queues": [
            {"name": each.name, "arguments": dict(each.arguments)} | common for each in topology.queues
        ],
        "bindings": [
            {"source": each.exchange, "vhost": VHOST, "destination": each.queue, "destination_type": "queue",
             "routing_key": each.routing_key, "arguments": {}}
            for each in topology.bindings
        ],
    }  # fmt: skip


if __name__ == "__main__":
    for path, text in deployments().items():
        (DEPLOY / path).write_text(text)
