"""Write docs/asyncapi.yaml, the AsyncAPI document of the shop with its events: ``make docs``."""

from pathlib import Path

from ordermq import shop
from ordermq.cli.asyncapi.document import describe
from ordermq.cli.asyncapi.yaml_text import to_yaml
from ordermq.cli.program import registry_of
from ordermq.config.settings import Settings
from ordermq.topology import EventStream, build

HERE = Path(__file__).parent


def document() -> str:
    """Return docs/asyncapi.yaml."""
    registry = registry_of([shop.module])
    return to_yaml(describe(build("orders", registry.queues, events=EventStream()), registry, Settings()))


if __name__ == "__main__":
    (HERE / "asyncapi.yaml").write_text(document())
