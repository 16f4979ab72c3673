"""A PgBouncer of Debian's before a private PostgreSQL, the installed one or one that is only unpacked."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ordermq.testing import wait_until
from ordermq.testing.stack.ports import free_ports, is_free
from ordermq.testing.stack.process import ServerProcess

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ordermq" / "pgbouncer"
PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")
SBIN = "/usr/sbin:/usr/local/sbin"


def _program():
    """Return the path of pgbouncer and of its libraries; fetch Debian's packages if there is none."""
    if installed := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{SBIN}"):
        return installed, ""
    if not (CACHE / "usr/sbin/pgbouncer").exists():
        new = CACHE.with_name(f"pgbouncer.{os.getpid()}")
        new.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", *PACKAGES], cwd=new, check=True, capture_output=True)
            for package in new.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, new], check=True)
        except (OSError, subprocess.CalledProcessError):
            shutil.rmtree(new, ignore_errors=True)
            pytest.skip("there is no pgbouncer here, and apt-get cannot download it")
        shutil.rmtree(CACHE, ignore_errors=True)
        new.rename(CACHE)
    return str(CACHE / "usr/sbin/pgbouncer"), ":".join(map(str, (CACHE / "usr/lib").glob("*-linux-gnu")))


@contextmanager
def pgbouncer(database, mode, *, ignores_options):
    """Run PgBouncer in this pool mode; yield settings that lead through it to ``database``."""
    program, libraries = _program()
    place, settings = database.postgres._place, database.settings
    [port] = free_ports(1)
    folder = place.given_folder(f"pgbouncer-{port}")
    users = place.readable_file(
        f"pgbouncer-{port}.users", f'"{settings.username}" "{settings.password.reveal()}"\n'
    )
    ini = place.readable_file(
        f"pgbouncer-{port}.ini",
        f"[databases]\n* = host=127.0.0.1 port={settings.port}\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
        f"auth_type=scram-sha-256\nauth_file={users}\npool_mode={mode}\ndefault_pool_size=20\n"
        + ("ignore_startup_parameters=options\n" if ignores_options else ""),
    )
    if libraries:  # the account that it runs as may not enter the caller's home
        own = folder / "program"
        shutil.copytree(libraries.partition(":")[0], own, symlinks=True)
        program, libraries = shutil.copy(program, own), str(own)
    process = ServerProcess(place, f"pgbouncer-{port}")
    process.start([program, str(ini)], env={"LD_LIBRARY_PATH": libraries}, cwd=folder)
    try:
        wait_until(lambda: not is_free(port), 10, what="a PgBouncer that listens")
        yield replace(settings, port=port)
    finally:
        process.stop(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)
