"""A plugin of pytest: the shop's handlers run as the least role of their queue, and ``shop`` places orders.

``make test-grants`` runs the tests of the handlers with it. A statement that needs more than ``ordermq db
grants`` gives fails there, also on paths that no test of the whole pipeline takes.
"""

from contextlib import contextmanager

import pytest

from ordermq.shop import module, place_order
from ordermq.store import Session
from ordermq.store.grants import grants_of, statements
from tests.support import shop as shops
from tests.support.least import psql

ROLES = {
    role: f"least-{role}"
    for role in grants_of(shops.QUEUES, {module.name: module.load("grants")})
    if role.startswith("consumer-") or role == module.name
}


# What docs/security.md says takes more rights than the roles have.
TAKES_MORE = {
    "test_an_order_of_before_with_other_lines_is_a_conflict": "compares an old order with its contact"
}


def pytest_collection_modifyitems(items):
    """Skip what takes more rights."""
    for item in items:
        if reason := TAKES_MORE.get(item.name):
            item.add_marker(pytest.mark.skip(reason=reason))


class AsRole:
    """A session whose transactions are those of a role."""

    def __init__(self, session, role):
        self._session = session
        self._role = ROLES[role]

    @contextmanager
    def transaction(self, **options):
        with self._session.transaction(**options) as tx:
            tx.execute(f'SET LOCAL ROLE "{self._role}"')
            yield tx


@pytest.fixture(autouse=True)
def least_handlers(monkeypatch):
    """Have each Shop of a test make the roles in its database, and use them."""
    make, handle = shops.Shop.__init__, shops.Shop.handle

    def __init__(self, database, *options, **named):
        make(self, database, *options, **named)
        found = grants_of(shops.QUEUES, {module.name: module.load("grants")})
        lines = statements(
            {name: found[role] for role, name in ROLES.items()},
            database=database.name, schemas=["ordermq", module.name], create=True,
        )  # fmt: skip
        members = [f'GRANT "{name}" TO {database.settings.username};' for name in ROLES.values()]
        psql(database, "\n".join([*lines, *members]))

    def as_role(self, session, queue):
        session = session or self.session
        return AsRole(session, f"consumer-{queue}") if isinstance(session, Session) else session

    def handle_as_role(self, *messages, session=None):
        return handle(self, *messages, session=as_role(self, session, messages[0].queue))

    def transaction(self, claims, session):
        traces = {claim.envelope.correlation_id: claim.envelope.traceparent for claim in claims}
        types = {each.type: queue for queue in shops.QUEUES for each in shops.REGISTRY.of_queue(queue)}
        return as_role(self, session, types[claims[0].envelope.type]).transaction(traces=traces)

    def die(self, message, reason="gave up"):
        with AsRole(self.session, f"consumer-{message.queue}").transaction() as tx:
            message.handler.on_dead(message.payload, reason, tx)

    def place(self, *orders):
        with AsRole(self.session, module.name).transaction() as tx:
            return [place_order(order, tx) for order in orders]

    patched = {
        "__init__": __init__,
        "handle": handle_as_role,
        "_transaction": transaction,
        "die": die,
        "place": place,
    }
    for name, function in patched.items():
        monkeypatch.setattr(shops.Shop, name, function)
