"""docs/schema.md and the comments in the database say what the migrations come to."""

import runpy
from contextlib import closing
from pathlib import Path

from ordermq.store import Session

ROOT = Path(__file__).parents[2]
SCHEMA = runpy.run_path(str(ROOT / "docs" / "generate_schema.py"))


def test_the_page_of_the_schema_is_up_to_date(database):
    with closing(Session(database.settings, name="test")) as session:
        written = (ROOT / "docs" / "schema.md").read_text()
        assert written == SCHEMA["page"](session), "make docs writes it anew"


def test_each_table_view_and_function_says_in_psql_what_it_is_for(database):
    silent = database.sql("""
        SELECT c.oid::regclass::text FROM pg_class AS c
         WHERE c.relnamespace IN ('ordermq'::regnamespace, 'shop'::regnamespace)
           AND c.relkind IN ('r', 'p', 'v')
           AND obj_description(c.oid, 'pg_class') IS NULL
        UNION ALL
        SELECT p.oid::regprocedure::text FROM pg_proc AS p
         WHERE p.pronamespace IN ('ordermq'::regnamespace, 'shop'::regnamespace)
           AND obj_description(p.oid, 'pg_proc') IS NULL
    """)
    assert silent == "", "a migration that makes one, or makes it anew, says COMMENT ON"
