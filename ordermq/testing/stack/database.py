"""A private PostgreSQL server: own port on 127.0.0.1, own roles, own data; no socket file, no system service.

Administered through ``psql``: the driver belongs to ``ordermq.store`` alone.
"""

import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence

from ordermq.config.settings import DatabaseSettings, Secret
from ordermq.testing.stack import programs
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports, is_free
from ordermq.testing.stack.postgres_release import postgres_named, wanted_postgres
from ordermq.testing.stack.release import INSTALLED
from ordermq.testing.stack.server import PrivateServer

USER = "ordermq"
DATABASE = "ordermq"
SUPERUSER = "postgres"


class PrivatePostgres(PrivateServer):
    """One PostgreSQL server with the role and the database ``ordermq``.

    The role owns the database and may create more, and is no superuser.
    """

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # its "fast" shutdown: open connections are broken

    def __init__(self, place: Place, *, fsync: bool = True, options: Sequence[str] = ()) -> None:
        """``options`` are ``name=value`` settings over the defaults here.

        Without ``fsync`` a power cut of the machine may lose data; a killed server does not. It
        is of the release it was before, and a new one of what the environment asks for.
        """
        super().__init__(place, "postgres")
        # Data of before the releases were remembered is of the installed one.
        before = postgres_named(self._known.get("release", INSTALLED)) if self._known else None
        self._release = before or wanted_postgres()
        self._options = (f"fsync={'on' if fsync else 'off'}", *options)

    # --- life ---------------------------------------------------------------

    def launch(self) -> None:
        """Start without waiting, creating the data first if there is none. Does nothing if it is running."""
        if self.process.pid is not None:
            return
        bin_folder = self._release.bin_folder()
        self._choose_ports()
        folder = self._place.given_folder("postgres")
        data = folder / "data"
        if not data.exists():
            self._create(str(bin_folder))
        # After a kill this file names a pid that may still be a zombie, which PostgreSQL takes for a
        # running server. The pid file of ServerProcess has just said that it is dead.
        (data / "postmaster.pid").unlink(missing_ok=True)
        argv = [str(bin_folder / "postgres"), "-D", str(data)]
        for option in (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            # Addresses of socket files are limited to 107 bytes, which a checkout's path may exceed.
            "unix_socket_directories=",
            "max_connections=400",
            "synchronous_commit=on",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_line_prefix=%m [%p] %d ",
            *self._options,
        ):
            argv += ["-c", option]
        enclosure = self._release.enclosure
        argv = enclosure.command(argv, self._place.account)
        self.process.start(argv, env=self._environment(), cwd=folder, as_self=enclosure.is_entered)

    def is_serving(self) -> bool:
        """Whether it answers a query, now."""
        try:
            return self.sql("SELECT 1", timeout_s=5.0) == "1"
        except StackError:
            return False

    # --- where it is --------------------------------------------------------

    @property
    def port(self) -> int:
        return int(self._known["port"])

    @property
    def username(self) -> str:
        return USER

    @property
    def password(self) -> str:
        return str(self._known["password"])

    @property
    def superuser_password(self) -> str:
        """The password of the role ``postgres``."""
        return str(self._known["superuser_password"])

    def settings(self, name: str = DATABASE) -> DatabaseSettings:
        """How to connect to the database ``name`` as the role ``ordermq``."""
        return DatabaseSettings(
            host="127.0.0.1",
            port=self.port,
            name=name,
            username=USER,
            password=Secret(self.password),
            sslmode="disable",
        )

    # --- administration -----------------------------------------------------

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database owned by ``ordermq``, a copy of ``template``.

        PostgreSQL refuses it while a session is connected to the template.
        """
        self.sql(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")

    def drop_database(self, name: str) -> None:
        """Drop a database, breaking its connections; not an error if there is none."""
        self.sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)", superuser=True)

    def sql(
        self, statement: str, *, database: str = DATABASE, superuser: bool = False, timeout_s: float = 60.0
    ) -> str:
        """Run SQL through psql and return its rows, ``|`` between columns. Raises StackError."""
        user, password = (SUPERUSER, self.superuser_password) if superuser else (USER, self.password)
        argv = [programs.psql(), "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-c", statement]
        env = {
            **self._environment(),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": user,
            "PGPASSWORD": str(password),
            "PGDATABASE": database,
            "PGSSLMODE": "disable",
            "PGCONNECT_TIMEOUT": "5",
        }
        try:
            done = subprocess.run(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise StackError(f"PostgreSQL did not answer within {timeout_s:g} s: {statement[:200]}") from exc
        if done.returncode != 0:
            raise StackError(f"{statement[:200]}: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    # --- private ------------------------------------------------------------

    def _choose_ports(self) -> None:
        # Passwords stay; the port stays unless another process has taken it meanwhile.
        if not self._known:
            self._known = {
                "port": free_ports(1)[0],
                "password": secrets.token_urlsafe(24),
                "superuser_password": secrets.token_urlsafe(24),
                "release": self._release.name,
            }
        if not is_free(self.port):
            self._known["port"] = free_ports(1)[0]
        self._place.remember("postgres", self._known)

    def _create(self, bin_folder: str) -> None:
        # The folder is renamed when it is complete, so that a start that was killed leaves no folder
        # that looks like data.
        folder = self._place.given_folder("postgres")
        new = folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        password_file = self._place.readable_file("postgres.password", self.superuser_password)
        argv = [f"{bin_folder}/initdb", "-D", str(new), "-U", SUPERUSER, "-A", "scram-sha-256"]
        argv += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        try:
            self._run(argv)
        finally:
            password_file.unlink()
        role = f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{self.password}'"
        single = [f"{bin_folder}/postgres", "--single", "-D", str(new), "-c", "fsync=off", "postgres"]
        self._run(single, f"{role}\nCREATE DATABASE {DATABASE} OWNER {USER}\n")
        new.rename(folder / "data")

    def _run(self, argv: list[str], text: str = "") -> None:
        enclosure, account = self._release.enclosure, self._place.account
        done = subprocess.run(
            enclosure.command(argv, account),
            env=self._environment(),
            cwd=self._place.given_folder("postgres"),
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **({} if enclosure.is_entered else account.popen_arguments()),
        )
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise StackError(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-1000:]}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": programs.PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
