"""The pytest plugin in somebody's own test suite, and wait_until."""

import subprocess
import sys
import textwrap
from itertools import count

import pytest

from ordermq.config.environment import inherited
from ordermq.testing import wait_until


def run_suite(folder, test, conftest="", *, ci=False, args=()):
    (folder / "conftest.py").write_text(textwrap.dedent(conftest))
    (folder / "test_own.py").write_text(textwrap.dedent(test))
    env = {name: value for name, value in inherited().items() if name != "CI"} | ({"CI": "1"} if ci else {})
    argv = [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider", *args]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


NO_BROKER = """
    from pathlib import Path
    from ordermq.testing.stack import release

    release.BIN = Path("nonexistent")
"""
NEEDS_BROKER = """
    def test_needs_a_broker(broker_settings):
        raise AssertionError("not reached")
"""


def test_without_rabbitmq_a_test_is_skipped_with_the_way_to_get_it(tmp_path):
    done = run_suite(tmp_path, NEEDS_BROKER, NO_BROKER)
    assert done.returncode == 0
    assert "1 skipped" in done.stdout
    assert "apt-get install rabbitmq-server" in done.stdout


def test_without_rabbitmq_a_test_fails_where_ci_is_set(tmp_path):
    done = run_suite(tmp_path, NEEDS_BROKER, NO_BROKER, ci=True)
    assert done.returncode == 1
    assert "ProgramMissing" in done.stdout


def test_a_suite_that_asks_for_nothing_starts_nothing(tmp_path):
    done = run_suite(tmp_path, "def test_plain():\n    pass\n", NO_BROKER, ci=True)
    assert done.returncode == 0


def test_each_test_gets_its_own_vhost_and_a_database_made_from_the_projects_template(tmp_path, ordermq_stack):
    # Given a project that prepares its database once, and a stack that runs already
    conftest = """
        import pytest

        @pytest.fixture(scope="session")
        def database_template(ordermq_stack):
            ordermq_stack.postgres.create_database("own_template")
            ordermq_stack.postgres.sql("CREATE TABLE migrated (n int)", database="own_template")
            yield "own_template"
            ordermq_stack.postgres.drop_database("own_template")
    """
    test = """
        import pytest

        seen = set()

        @pytest.mark.parametrize("turn", [1, 2])
        def test_own(vhost, database, broker_settings, database_settings, turn):
            assert database.sql("SELECT count(*) FROM migrated") == "0"
            database.sql("INSERT INTO migrated VALUES (1)")
            assert vhost.broker.api("GET", f"queues/{vhost.name}") == []
            vhost.broker.api("PUT", f"queues/{vhost.name}/q", {"durable": True})
            assert (broker_settings.vhost, database_settings.name) == (vhost.name, database.name)
            assert not {vhost.name, database.name} & seen
            seen.update({vhost.name, database.name})
    """
    # When its tests run on that stack
    done = run_suite(tmp_path, test, conftest, args=["--ordermq-stack", str(ordermq_stack.place.state)])
    # Then they pass, and nothing of theirs is left
    assert "2 passed" in done.stdout, done.stdout
    assert "test_" not in ordermq_stack.postgres.sql("SELECT string_agg(datname, ' ') FROM pg_database")
    assert not [v for v in ordermq_stack.broker.api("GET", "vhosts") if v["name"].startswith("test-")]


def test_the_database_of_a_test_has_the_tables_of_the_modules_that_the_project_names(tmp_path, ordermq_stack):
    (tmp_path / "pytest.ini").write_text("[pytest]\nordermq_modules = ordermq.shop\n")
    test = """
        def test_own(database):
            counts = "SELECT (SELECT count(*) FROM shop.orders), (SELECT count(*) FROM ordermq.inbox)"
            assert database.sql(counts) == "0|0"
    """
    # With "=": pytest would else look for its ini file where the folder is.
    done = run_suite(tmp_path, test, args=[f"--ordermq-stack={ordermq_stack.place.state}"])
    assert "1 passed" in done.stdout, done.stdout


def test_a_stack_that_is_not_up_is_said_to_be_so(tmp_path):
    args = ["--ordermq-stack", str(tmp_path / "none")]
    done = run_suite(tmp_path, NEEDS_BROKER, args=args)
    assert done.returncode == 1
    assert "'devstack up' starts" in done.stdout


def test_wait_until_returns_the_first_true_value():
    numbers = count()
    assert wait_until(lambda: next(numbers) if next(numbers) > 3 else 0, 5.0) == 5


def test_wait_until_says_what_did_not_happen_and_the_last_value():
    with pytest.raises(TimeoutError, match=r"not within 0.05 s: the moon \(last value: 0\)"):
        wait_until(lambda: 0, 0.05, what="the moon")
