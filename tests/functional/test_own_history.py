"""A module's own history, as docs/events.md has it: numbered, lifted, and published."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from ordermq.cli.program import migrations_for
from ordermq.module import load_modules
from ordermq.outward import OutwardRecords
from ordermq.store import Session, migrate
from ordermq.store.grants import grants_of
from ordermq.store.numbering import Sequencer

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture
def wrapping(tmp_path, monkeypatch):
    """The Python module of the page, with its migration."""
    text = PAGE.read_text().partition("## Events of your own")[2]
    [sql] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    [python] = re.findall(r"```python\n(# wrapping.py\n.*?)```", text, re.DOTALL)
    (tmp_path / "wrapping.py").write_text(python)
    package = tmp_path / "wrapping_migrations"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "0001_gift_events.sql").write_text(sql)
    monkeypatch.syspath_prepend(tmp_path)
    [module] = load_modules(["wrapping"])
    return module


def test_records_of_a_module_are_numbered_and_published_in_their_newest_version(wrapping, database_settings):
    session = Session(database_settings, name="test")
    migrate.migrate(session, migrations_for([wrapping]))
    with session.transaction() as tx:
        old = json.dumps({"type": "gift_wrapped"})
        tx.execute("INSERT INTO gift_events (order_id, number, body) VALUES ('A-1', 1, %s)", (old,))
        import_module("wrapping").note_wrapped("A-1", 2, "blue", tx)
    with pytest.raises(Exception, match="it is only added to"), session.transaction() as tx:
        tx.execute("UPDATE gift_events SET body = '{}'")

    Sequencer(every_s=0)(session, is_active=True)

    outward = OutwardRecords(wrapping.records, "/shop")
    with session.transaction() as tx:
        events = [each.event for each in outward.read(tx, 0, 10, None)]
    assert [(event.id, event.type, event.source) for event in events] == [
        ("A-1:1", "gift_wrapped", "/shop/gift_events"),
        ("A-1:2", "gift_wrapped", "/shop/gift_events"),
    ]
    assert [json.loads(event.data) for event in events] == [
        {"type": "gift_wrapped", "ribbon": "red", "v": 2},
        {"type": "gift_wrapped", "ribbon": "blue", "v": 2},
    ]
    assert events[1].previous == events[0].position
    assert "public.gift_events" in repr(grants_of([], {"wrapping": wrapping.grants}, events=True)["relay"])
    session.close()
