"""PostgreSQL as others run it: in German, with a standby, in a collation that is not C."""

import secrets
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest

from ordermq.config.environment import inherited
from ordermq.shop import Status, load_stock
from ordermq.testing import wait_until
from ordermq.testing.plugin import Database
from ordermq.testing.stack import programs
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import program
from ordermq.testing.stack.database import SUPERUSER, PrivatePostgres
from ordermq.testing.stack.place import Place
from tests.support.commands import run_program
from tests.support.shop import an_order, make_tables, open_shop

STANDBY = "127.0.0.2"


class OtherPostgres(PrivatePostgres):
    """A server of its own that may speak German: ``locales`` is a folder with the locale, or None."""

    def __init__(self, place, locales, *options):
        super().__init__(place, fsync=False, options=options)
        self.locales = locales

    def settings_at(self, host):
        """The settings that lead a command to it, or to a standby, by its address."""
        return {
            "ORDERMQ_DATABASE_HOST": host,
            "ORDERMQ_DATABASE_PORT": str(self.port),
            "ORDERMQ_DATABASE_USERNAME": self.username,
            "ORDERMQ_DATABASE_PASSWORD": self.password,
            "ORDERMQ_DATABASE_SSLMODE": "disable",
        }

    def ask(self, host, statement):
        """Return the one value that a superuser is answered with."""
        password = str(self._known["superuser_password"])
        login = {"user": SUPERUSER, "password": password, "dbname": "ordermq", "connect_timeout": 5}
        with (
            closing(psycopg2.connect(host=host, port=self.port, **login)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def copy_to(self, folder):
        """Write to ``folder`` what a standby begins with."""
        argv = [str(programs.postgres_bin() / "pg_basebackup"), "-R", "-c", "fast", "-D", str(folder)]
        argv += ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER]
        env = {**self._environment(), "PGPASSWORD": str(self._known["superuser_password"])}
        subprocess.run(argv, env=env, check=True, timeout=120, **self._place.account.popen_arguments())

    def _environment(self):
        return {**super()._environment(), **({"LOCPATH": str(self.locales)} if self.locales else {})}


class Standby(OtherPostgres):
    """Follows ``primary``, at the same port of another address of this machine."""

    def __init__(self, place, primary):
        super().__init__(place, primary.locales, f"listen_addresses={STANDBY}")
        self._known = dict(primary._known)

    def _choose_ports(self):
        pass

    def is_serving(self):
        with suppress(psycopg2.OperationalError):
            return self.ask(STANDBY, "SELECT pg_is_in_recovery()")
        return False


@pytest.fixture(scope="module")
def other():
    """A running server with the shop's tables; it speaks German where that is installed."""
    place = Place.temporary(server_account())
    server = OtherPostgres(place, *german(place))
    server.start()
    try:
        done = run_program("ordermq", "db", "migrate", env=server.settings_at("127.0.0.1"))
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.kill()
        shutil.rmtree(place.data)


def german(place):
    """Return a folder with the German locale and the option that uses it; None if it cannot be made."""
    version = programs.postgres_bin().parent.name
    translation = Path(f"/usr/share/locale/de/LC_MESSAGES/postgres-{version}.mo")
    if not (
        translation.exists() and shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").exists()
    ):
        return (None,)
    locales = place.data / "locales"
    locales.mkdir(mode=0o755)
    argv = ["localedef", "-f", "UTF-8", "-i", "de_DE", str(locales / "de_DE.UTF-8")]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    return locales, "lc_messages=de_DE.UTF-8"


@pytest.mark.parametrize(
    "wrong", [{"PASSWORD": "wrong"}, {"USERNAME": "nobody-here"}, {"NAME": "no_such_one"}]
)
def test_a_refusal_in_german_ends_a_process_with_78(other, wrong):
    if other.locales is None:
        pytest.skip("PostgreSQL's German messages or 'locales' are not installed: the refusal was not tried")
    env = other.settings_at("127.0.0.1") | {f"ORDERMQ_DATABASE_{key}": value for key, value in wrong.items()}
    done = run_program("ordermq-relay", env=env)
    assert any(word in done.stderr for word in ("fehlgeschlagen", "existiert nicht")), done.stderr
    assert done.returncode == 78


def test_an_import_goes_to_the_primary_of_two_and_goes_on_when_a_standby_is_promoted(other, tmp_path):
    place = Place.temporary(server_account())
    other.copy_to(place.given_folder("postgres") / "data")
    standby = Standby(place, other)
    standby.start()
    count, (first, second) = "SELECT count(*) FROM shop.orders", generated()
    try:
        # Of two hosts the standby is the first, and takes no writes
        assert imported(first, other.settings_at(f"{STANDBY},127.0.0.1")) == 0
        assert other.ask("127.0.0.1", count) == 20
        wait_until(lambda: standby.ask(STANDBY, count) == 20, 20.0, what="a standby that follows")
        # The standby alone: the import waits for it to take writes
        log = tmp_path / "import.log"
        process = begin_import(second, other.settings_at(STANDBY), tmp_path, log)
        wait_until(lambda: "trying again" in log.read_text(), 30.0, what="an import that waits")
        assert process.poll() is None
        assert standby.ask(STANDBY, "SELECT pg_promote()")
        assert process.wait(60) == 0, log.read_text()
        assert standby.ask(STANDBY, count) == 40
    finally:
        standby.kill()
        shutil.rmtree(place.data)


def generated():
    """Return two files of 20 orders each."""
    lines = run_program("ordermq-publish", "generate", "--orders", "40").stdout.encode().splitlines(True)
    return b"".join(lines[:20]), b"".join(lines[20:])


def imported(orders, env):
    return run_program("ordermq-publish", "orders", "-", env=env, stdin=orders).returncode


def begin_import(orders, env, folder, log):
    file = folder / "orders.jsonl"
    file.write_bytes(orders)
    env = {**inherited(), "ORDERMQ_CONFIG": "", **env}
    argv = [program("ordermq-publish"), "orders", str(file)]
    with log.open("wb") as stderr:
        return subprocess.Popen(argv, env=env, cwd=folder, stdout=stderr, stderr=stderr)


# --- a collation that is not C --------------------------------------------------------

# By bytes a capital letter stands before every small one; for ICU "a-1" stands before "B-1".
FIRST, SECOND = "B-1", "a-1"
LOCK = "SELECT FROM shop.stock WHERE product_id = %s FOR UPDATE NOWAIT"


@pytest.fixture
def in_icu(ordermq_stack):
    """A database with the shop's tables, whose texts are compared by ICU."""
    postgres, name = ordermq_stack.postgres, f"test_{secrets.token_hex(6)}"
    postgres.sql(
        f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de'"
    )
    database = Database(postgres, name)
    make_tables(database)
    yield database
    postgres.drop_database(name)


@pytest.fixture
def icu_shop(in_icu, sandbox):
    with open_shop(in_icu, sandbox) as shop:
        assert in_icu.sql("SELECT 'a-1' < 'B-1'") == "t"
        shop.load(**{"B_1": 10, "a_1": 10})
        yield shop


def reload_stock(shop, _, session):
    with session.transaction() as tx:
        return load_stock([(SECOND, 11), (FIRST, 11)], tx)


def reserve(shop, messages, session):
    return shop.handle(*messages, session=session)


@pytest.mark.parametrize("work", [reload_stock, reserve])
def test_rows_of_stock_are_locked_in_the_order_of_python_s_sort(icu_shop, work):
    icu_shop.place(an_order("o-1", (SECOND, 1), (FIRST, 1)))

    messages = icu_shop.take("inventory")
    # The work waits for the first row, and holds no other meanwhile
    assert icu_shop.one_after_another(
        lambda tx: tx.execute(LOCK, (FIRST,)),
        lambda session: work(icu_shop, messages, session),
        meanwhile=lambda tx: tx.execute(LOCK, (SECOND,)),
    )


def test_the_shop_works_in_a_database_of_icu(icu_shop):
    orders = [an_order(each, (SECOND, 1), (FIRST, 1)) for each in ("B-o", "a-o", "Z-o", "z-o")]
    icu_shop.place(*orders)
    icu_shop.run()
    assert {icu_shop.order(each.order_id).status for each in orders} == {Status.COMPLETED}
    assert icu_shop.stock() == {FIRST: (6, 0, 4), SECOND: (6, 0, 4)}
    assert icu_shop.reconcile().is_ok
