"""A private PostgreSQL server: own port on 127.0.0.1, own roles, own data; no socket file, no system service.

Administered through ``psql``: the driver belongs to ``ordermq.store`` alone.
"""

import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence

from ordermq.config.settings import DatabaseSettings, Secret
from ordermq.testing import programs
from ordermq.testing.errors import StackError
from ordermq.testing.place import Place
from ordermq.testing.ports import free_ports, is_free
from ordermq.testing.process import ServerProcess
from ordermq.testing.wait import wait_until

USER = "ordermq"
DATABASE = "ordermq"
SUPERUSER = "postgres"


class PrivatePostgres:
    """One PostgreSQL server with the role and the database ``ordermq``. Everything blocks.

    The role owns the database and may create more, and is no superuser.
    """

    def __init__(self, place: Place, *, fsync: bool = True, options: Sequence[str] = ()) -> None:
        """``options`` are ``name=value`` settings over the defaults here.

        Without ``fsync`` a power cut of the machine may lose data; a killed server does not.
        """
        self._place = place
        self._options = (f"fsync={'on' if fsync else 'off'}", *options)
        self.process = ServerProcess(place, "postgres")
        self._known = place.remembered("postgres") or {}

    # --- life ---------------------------------------------------------------

    def start(self, timeout_s: float = 60.0) -> None:
        """Start on the data there is and wait until it serves. Raises StackError, ProgramMissing."""
        self.launch()
        self.wait_ready(timeout_s)

    def launch(self) -> None:
        """Start without waiting, creating the data first if there is none. Does nothing if it is running."""
        if self.process.pid is not None:
            return
        bin_folder = programs.postgres_bin()
        self._settle()
        folder = self._place.given_folder("postgres")
        data = folder / "data"
        if not data.exists():
            self._create(str(bin_folder))
        # After a kill the file names a pid that may be a zombie still, which PostgreSQL
        # takes for a running server. Our own pid file has just said that it is dead.
        (data / "postmaster.pid").unlink(missing_ok=True)
        argv = [str(bin_folder / "postgres"), "-D", str(data)]
        for option in (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            # Addresses of socket files are limited to 107 bytes, which a checkout's path may exceed.
            "unix_socket_directories=",
            "max_connections=300",
            "synchronous_commit=on",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_line_prefix=%m [%p] %d ",
            *self._options,
        ):
            argv += ["-c", option]
        self.process.start(argv, env=self._environment(), cwd=folder)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until it answers a query."""

        def is_ready() -> bool:
            if self.process.pid is None:
                raise StackError(
                    f"PostgreSQL ended while starting; {self.process.log} says:\n{self.process.last_words()}"
                )
            return self.is_serving()

        try:
            wait_until(is_ready, timeout_s, what="PostgreSQL serves", every_s=0.05)
        except TimeoutError as exc:
            raise StackError(f"{exc}; see {self.process.log}") from exc

    def stop(self, timeout_s: float = 30.0) -> None:
        """Shut down cleanly, breaking open connections. Does nothing if it is down."""
        self.process.stop(signal.SIGINT, timeout_s)

    def kill(self) -> None:
        """SIGKILL every process of the server, as a power cut would."""
        self.process.kill()

    def restart(self, timeout_s: float = 60.0) -> None:
        """Stop and start on the same port and data."""
        self.stop()
        self.start(timeout_s)

    def freeze(self) -> None:
        """Stop it from running while its connections stay open: a hung machine."""
        self.process.freeze()

    def thaw(self) -> None:
        """End ``freeze``."""
        self.process.thaw()

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

        Nobody may be connected to the template meanwhile.
        """
        self.sql(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")

    def drop_database(self, name: str) -> None:
        """Drop a database, breaking its connections; not an error if there is none."""
        self.sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)", superuser=True)

    def sql(
        self, statement: str, *, database: str = DATABASE, superuser: bool = False, timeout_s: float = 60.0
    ) -> str:
        """Run SQL through psql and return its rows, ``|`` between columns. Raises StackError."""
        user, password = (
            (SUPERUSER, self._known["superuser_password"]) if superuser else (USER, self.password)
        )
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

    def _settle(self) -> None:
        # Passwords are for ever, the port for as long as nobody else has taken it meanwhile.
        if not self._known:
            self._known = {
                "port": free_ports(1)[0],
                "password": secrets.token_urlsafe(24),
                "superuser_password": secrets.token_urlsafe(24),
            }
        if not is_free(self.port):
            self._known["port"] = free_ports(1)[0]
        self._place.remember("postgres", self._known)

    def _create(self, bin_folder: str) -> None:
        # Made under another name and renamed when complete: a start that was killed half-way
        # leaves nothing that looks like data.
        folder = self._place.given_folder("postgres")
        new = folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        password_file = self._place.readable_file("postgres.password", self._known["superuser_password"])
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
        done = subprocess.run(
            argv,
            env=self._environment(),
            cwd=self._place.given_folder("postgres"),
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **self._place.account.popen_arguments(),
        )
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise StackError(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-1000:]}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": programs.PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
