"""The files of a scope's migrations, and what somebody reads whose files are wrong."""

import sys

import pytest

from ordermq.errors import ConfigError
from ordermq.store import migrate


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "some_migrations"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_migrations", raising=False)
    return folder


def test_files_must_say_whether_they_are_safe_and_leave_no_gap(package):
    (package / "0001_a.sql").write_text("CREATE TABLE a ()")
    with pytest.raises(ConfigError, match=r"0001_a.sql in some_migrations: its first line must be '-- safe"):
        migrate.migrations_of("x", "some_migrations")
    (package / "0001_a.sql").write_text("-- safe while old code runs: no\nCREATE TABLE a ()")
    (package / "0003_c.sql").write_text("-- safe while old code runs: yes\n")
    with pytest.raises(ConfigError, match=r"in some_migrations .* without a gap"):
        migrate.migrations_of("x", "some_migrations")


def test_a_file_of_another_name_is_no_migration_that_silently_never_runs(package):
    (package / "1_a.sql").write_text("-- safe while old code runs: yes\n")
    with pytest.raises(ConfigError, match=r"1_a.sql in some_migrations is not named .* 0001_x.sql"):
        migrate.migrations_of("x", "some_migrations")


def test_a_package_that_is_missing_or_empty_is_named(package):
    with pytest.raises(ConfigError, match=r"'some_migrations' has no file such as 0001_name.sql"):
        migrate.migrations_of("x", "some_migrations")
    with pytest.raises(ConfigError, match=r"cannot find the package 'no_such_migrations'.*__init__.py"):
        migrate.migrations_of("x", "no_such_migrations")
