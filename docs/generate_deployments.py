"""Write what follows from the shop's queues in deploy/: Kubernetes' consumers and RabbitMQ's definitions."""

import json
from pathlib import Path

from ordermq import shop
from ordermq.cli.program import registry_of
from ordermq.topology import EventStream, build
from ordermq.topology.grants import broker_grants, pattern
from ordermq.topology.names import DEAD

DEPLOY = Path(__file__).parents[1] / "deploy"
VHOST = "shop"
_HEAD = "# Written by make docs from {} for each queue of the shop.\n"


def deployments() -> dict[Path, str]:
    """Return the text of each file, by its path in deploy/."""
    queues = sorted(registry_of([shop.module]).queues)
    return {
        Path("kubernetes/consumers.yaml"): _each("kubernetes/consumer.yaml.in", [*queues, DEAD]),
        Path("kubernetes/scaling.yaml"): _each("kubernetes/scaling.yaml.in", queues),
        Path("rabbitmq/definitions.json"): _definitions(queues, None),
        Path("rabbitmq/definitions-events.json"): _definitions(queues, EventStream()),
    }


def _each(template: str, queues: list[str]) -> str:
    text = (DEPLOY / template).read_text()
    return _HEAD.format(Path(template).name) + "---\n".join(text.replace("QUEUE", queue) for queue in queues)


def _definitions(queues: list[str], events: EventStream | None) -> str:
    topology = build("orders", queues, events=events)
    roles = broker_grants("orders", queues, management=True, events=events is not None)
    common = {"vhost": VHOST, "durable": True, "auto_delete": False}
    made = {
        "vhosts": [{"name": VHOST, "default_queue_type": "quorum"}],
        # Without a password a user cannot log in.
        "users": [
            {"name": f"ordermq-{role}", "password_hash": "", "tags": list(grants.tags),
             "hashing_algorithm": "rabbit_password_hashing_sha256"}
            for role, grants in roles.items()
        ],
        "permissions": [
            {"user": f"ordermq-{role}", "vhost": VHOST, "configure": pattern(grants.configure),
             "write": pattern(grants.write), "read": pattern(grants.read)}
            for role, grants in roles.items()
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
    return json.dumps(made, indent=1) + "\n"


if __name__ == "__main__":
    for path, text in deployments().items():
        (DEPLOY / path).write_text(text)
