"""A machine with systemd as process 1, in namespaces of its own on this one."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from ordermq.testing import wait_until

HERE = Path(__file__).parent
_SPACES = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--net", "--kill-child")
_ENTER = ("-m", "-p", "-u", "-i", "-n", "-C")
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "SYSTEMD_PAGER": ""}


class MachineError(Exception):
    """A command in the machine failed, or the machine cannot be had here."""


def why_not() -> str:
    """Return why no such machine can be had here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can make the namespaces: sudo make test-systemd"
    if _cgroups() is None:
        return "no cgroup2 file system is mounted: systemd needs one"
    missing = [each for each in ("unshare", "nsenter", "debootstrap", "ip") if shutil.which(each) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install util-linux debootstrap iproute2"
    tried = subprocess.run(["unshare", *_SPACES, "true"], capture_output=True, text=True, check=False)
    return f"namespaces cannot be made here: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """Boots on the Debian in ``root``, which it never writes to. ``kit`` is its folder /srv/kit."""

    def __init__(self, root: Path, kit: Path, work: Path) -> None:
        self._root, self._kit, self._work = root, kit, work
        self._cgroup = (_cgroups() or Path("/nonexistent")) / f"ordermq-vm-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def boot(self) -> None:
        """Start, and return when systemd has started everything it was to start."""
        self._cgroup.mkdir(exist_ok=True)
        command = ["unshare", *_SPACES, "--propagation", "private", "bash", str(HERE / "enter.sh"),
                   str(self._root), str(self._work), str(self._kit)]  # fmt: skip
        with (self._work / "boot.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self._cgroup), *command],
                stdin=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self._init = wait_until(self._child, 20.0, what="process 1")
        wait_until(lambda: self.state() in ("running", "degraded"), 120.0, what="the end of the boot")

    def reboot(self) -> None:
        """Reboot as an operator would."""
        self.run("systemctl", "reboot", check=False)
        self._ended()
        self.boot()

    def close(self) -> None:
        """End everything that runs in it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._ended()
        with suppress(OSError):
            _remove_cgroup(self._cgroup)

    def state(self) -> str:
        """Return what ``systemctl is-system-running`` says."""
        return self.run("systemctl", "is-system-running", check=False).strip()

    def run(self, *command: str, check: bool = True, stdin: str = "", timeout_s: float = 120.0) -> str:
        """Run a command in the machine as root and return its standard output. Raises MachineError."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init), *_ENTER, "--", *command],
            input=stdin, capture_output=True, text=True, env=_ENV, timeout=timeout_s, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise MachineError(
                f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
        return done.stdout

    def shell(self, script: str, **options: object) -> str:
        """Run a script of bash in the machine."""
        return self.run("bash", "-euo", "pipefail", "-c", script, **options)  # type: ignore[arg-type] # those of run()

    def exit_of(self, script: str, timeout_s: float = 300.0) -> tuple[int, str]:
        """Run a script of bash in the machine; return its exit code and all that it wrote."""
        said = self.run("bash", "-c", f"{script} 2>&1; code=$?; echo; echo $code", timeout_s=timeout_s)
        text, _, code = said.rstrip().rpartition("\n")
        return int(code), text

    def start(self, script: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a script of bash in the machine, and return at once."""
        command = ["nsenter", "-t", str(self._init), *_ENTER, "--", "bash", "-euo", "pipefail", "-c", script]
        with log.open("wb") as file:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=_ENV)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        said = self.run("systemctl", "show", f"--property={','.join(names)}", unit)
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def journal(self, unit: str, *options: str) -> str:
        """Return the lines of a unit since the boot, without the journal's own columns."""
        return self.run("journalctl", "-b", "-o", "cat", "-u", unit, *options, check=False)

    def _child(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise MachineError(f"the machine ended as it began, see {self._work}/boot.log")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return 0
        child = int(children[0])
        return child if Path(f"/proc/{child}/comm").read_text().strip() == "systemd" else 0

    def _ended(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            os.kill(self._init, signal.SIGKILL)
            self._process.wait(30)


def _cgroups() -> Path | None:
    """Return where a cgroup2 file system is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def _remove_cgroup(folder: Path) -> None:
    for below in folder.iterdir():
        if below.is_dir():
            _remove_cgroup(below)
    folder.rmdir()
