"""This machine: whether ordermq can run on it, its services, and the database they use."""

import fcntl
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from failure import NOT_BACK, NOT_MIGRATED, NOT_ROOT, UNAVAILABLE, InstallFailure

UNITS = Path("/etc/systemd/system")
SETTINGS = Path("/etc/ordermq")
CREDENTIALS = SETTINGS / "credentials"

_LOCK = Path("/run/ordermq-install.lock")  # not /run/lock, where every user could hold it
_LEAST_SYSTEMD = 247
_PASSWORD = CREDENTIALS / "database_password"


def check() -> None:
    """Raise InstallFailure where ordermq cannot be installed, with what to do."""
    if os.geteuid() != 0:
        raise InstallFailure(NOT_ROOT, "only root can install: sudo bin/install-vm ...")
    if shutil.which("systemctl") is None:
        raise InstallFailure(
            UNAVAILABLE, "there is no systemctl: ordermq's services need a machine with systemd"
        )
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"systemd (\d+)", said)
    if version is None or int(version[1]) < _LEAST_SYSTEMD:
        raise InstallFailure(UNAVAILABLE, f"systemd {_LEAST_SYSTEMD} or newer is needed, found {said[:20]!r}")
    # Debian leaves it out of the package python3.
    if importlib.util.find_spec("ensurepip") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise InstallFailure(UNAVAILABLE, f"Python's venv module is incomplete: apt-get install {name}")


def lock() -> None:
    """Keep every other installation out until this process ends. Raises InstallFailure if one runs."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise InstallFailure(NOT_BACK, "another installation runs; wait for it, then try again") from exc


def is_booted() -> bool:
    """Whether systemd runs this machine; it does not while an image is built."""
    return Path("/run/systemd/system").is_dir()


def reads_old_units() -> bool:
    """Whether unit files were changed after systemd read them, as by an installation that was interrupted."""
    command = ["systemctl", "show", "--value", "--property=NeedDaemonReload", "ordermq*"]
    return "yes" in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def is_enabled(unit: str) -> bool:
    """Whether ``unit`` starts at boot."""
    said = subprocess.run(["systemctl", "is-enabled", unit], capture_output=True, text=True, check=False)
    return said.stdout.strip() == "enabled"


def forget(unit: str) -> None:
    """Stop and disable a unit that another release has not, and delete its file."""
    now = ("--now",) if is_booted() else ()
    # A template is disabled with its instances; what is stopped are those that run.
    subprocess.run(["systemctl", "disable", "--quiet", *now, unit], check=False)
    (UNITS / unit).unlink()


def runs_from(service: str, folder: Path) -> bool:
    """Whether the process of ``service`` is one of the release in ``folder``."""
    command = ["systemctl", "show", "--value", "--property=MainPID", service]
    pid = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        interpreter, *_ = Path(f"/proc/{int(pid)}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False
    return Path(os.fsdecode(interpreter)).parent.parent == folder


def active_services() -> list[str]:
    """Return the services that run all the time, the relay last: it is upgraded after the others.

    Those that failed and start at boot are among them: one that was restarted between the migration and the
    switch, or that did not come back from the installation before, is not to stay down.
    """
    if not is_booted():
        return []
    command = ["systemctl", "list-units", "--plain", "--no-legend",
               "--state=active,activating,reloading,failed",
               "ordermq-consumer@*.service", "ordermq-forward.service", "ordermq-relay.service"]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [line.split()[:3] for line in said.splitlines()]
    names = [name for name, _, state in found if state != "failed" or is_enabled(name)]
    return sorted(names, key=lambda name: (name == "ordermq-relay.service", name))


def restart(services: list[str], *, goes_back: bool) -> Iterator[str]:
    """Restart one service after the other, each when the one before is ready; yield its name then.

    Raises InstallFailure for one that does not become ready.
    """
    for at, name in enumerate(services):
        if subprocess.run(["systemctl", "restart", name], check=False).returncode:
            # A second --rollback would switch forward again.
            next_ = (
                f"the switch back is made, so repair and type: systemctl restart {' '.join(services[at:])}"
                if goes_back
                else "then repair and run the same command again, or go back: bin/install-vm --rollback"
            )
            raise InstallFailure(
                NOT_BACK,
                f"{name} did not come back, and no later one was restarted: journalctl -u {name} -n 50;"
                f" {next_}",
            )
        yield name


def check_tables(folder: Path) -> None:
    """Raise InstallFailure unless the database has every migration of the release in ``folder``."""
    missing = [f"{scope} {number:04}" for scope, number, is_applied in _migrations(folder) if not is_applied]
    if missing:
        raise InstallFailure(
            NOT_MIGRATED,
            f"the database lacks {', '.join(missing)}, so services of {folder.name} would not start."
            " Those that run go on. Migrate as the tables' owner, then run the same command again:\n"
            f"  {folder}/bin/ordermq db migrate",
        )


def check_older(newer: Path, older: Path) -> None:
    """Raise InstallFailure if the database has migrations of ``newer`` that ``older`` does not know."""
    known = {(scope, number) for scope, number, _ in _migrations(older)}
    applied = {(scope, number) for scope, number, is_applied in _migrations(newer) if is_applied}
    if unknown := sorted(applied - known):
        names = ", ".join(f"{scope} {number:04}" for scope, number in unknown)
        raise InstallFailure(
            NOT_MIGRATED,
            f"the database has {names}, which {older.name} does not know: its services would not start."
            " Nothing was changed; go on with the newer release, or restore a backup of the database",
        )


def _migrations(folder: Path) -> list[tuple[str, int, bool]]:
    command = [str(folder / "bin/ordermq"), "db", "status", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    try:
        return [(each["scope"], each["number"], each["applied"]) for each in json.loads(said.stdout)]
    except (ValueError, KeyError) as exc:
        raise InstallFailure(
            NOT_MIGRATED,
            f"{' '.join(command)} cannot tell whether the tables are those of this release; nothing that runs"
            f" was changed:\n{said.stderr.strip()[-2000:]}",
        ) from exc


def _environment() -> dict[str, str]:
    """Return what a relay gets from systemd: its variables, and the password of the database."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMQ_")}
    file = SETTINGS / "relay.env"
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            values[name] = value.strip("\"'")
    if _PASSWORD.is_file():
        values["ORDERMQ_DATABASE_PASSWORD_FILE"] = str(_PASSWORD)
    return values
