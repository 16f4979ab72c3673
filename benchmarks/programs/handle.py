"""What the peers' workers do with an order: nothing, or its effect; counted either way."""

from collections.abc import Callable
from typing import Any

from benchmarks.programs.clock import Tally
from benchmarks.programs.stock import Taker

Handle = Callable[[dict[str, Any]], None]


def handling(job: dict[str, Any], tally: Tally) -> Handle:
    """Return what the job says is to be done to each order."""
    if not job["takes"]:

        def do_nothing(_order: dict[str, Any]) -> None:
            tally.begin()
            tally.hit()

        return do_nothing

    taker = Taker(job)

    def take(order: dict[str, Any]) -> None:
        tally.begin()
        taker.take(order["order_id"], order["product_id"], order["quantity"])
        tally.hit()

    return take
