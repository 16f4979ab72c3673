"""The stock of the effect's samples, and what must have become of it."""

from benchmarks.case import Wrong
from benchmarks.ground import Ground
from benchmarks.programs import orders
from benchmarks.programs.stock import TABLES

ON_HAND = 1_000_000


def make_stock(ground: Ground) -> None:
    """Make the tables of a handler that keeps its own inbox, and the stock that every handler takes from."""
    _sql(ground, TABLES)
    _sql(
        ground,
        f"INSERT INTO public.stock SELECT 'sku-' || lpad(n::text, 4, '0'), {ON_HAND}"  # noqa: S608 # two numbers of ours
        f" FROM generate_series(0, {orders.PRODUCTS - 1}) AS n",
    )


def check_stock(ground: Ground, n: int) -> None:
    """Check that exactly the orders 0 to n - 1 were taken, each once. Raises Wrong."""
    expected = {orders.product(number): ON_HAND for number in range(orders.PRODUCTS)}
    for number in range(n):
        expected[orders.product(number)] -= orders.quantity(number)
    rows = (
        line.split("|") for line in _sql(ground, "SELECT product_id, on_hand FROM public.stock").splitlines()
    )
    found = {product_id: int(on_hand) for product_id, on_hand in rows}
    if found != expected:
        wrong = sorted(product for product in expected if found.get(product) != expected[product])
        raise Wrong(f"the stock of {len(wrong)} products is wrong: {', '.join(wrong[:5])}")


def count(ground: Ground, table: str) -> int:
    """Return how many rows a table has."""
    return int(_sql(ground, f"SELECT count(*) FROM {table}"))  # noqa: S608 # a name of ours


def _sql(ground: Ground, statement: str) -> str:
    return ground.stack.postgres.sql(statement, database=ground.name)
