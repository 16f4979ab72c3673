"""Carry out deploy/Containerfile without an engine; run what it makes read-only, without shell and root.

Stages are overlays on a Debian of debootstrap. It is run in a mount namespace of its own (__main__.py), so
nothing is left mounted. Packages come from the kit's folder of wheels in place of an index.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ordermq.testing import wait_until
from tests.systemd.kit import ROOT

_BUILD_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
              "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/dist/wheels"}  # fmt: skip
_SHELLS = ("sh", "dash", "bash", "rbash")


@dataclass
class Stage:
    """A stage of the image: its root, and what its instructions set."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def run(self, script: str) -> None:
        """Do what RUN does."""
        done = subprocess.run(
            ["/usr/sbin/chroot", str(self.root), "/bin/sh", "-c", script],
            env=_BUILD_ENV | self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"image: RUN {script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def command(self, *argv: str) -> list[str]:
        """Return the command that runs ``argv`` as a container would: as its user, without a shell."""
        return ["/usr/sbin/chroot", f"--userspec={self.values['USER']}", "--groups=", str(self.root), *argv]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Containerfile and its argument."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, argument = line.partition(" ")
            yield name, argument.strip()


def build(base: Path, context: Path, work: Path) -> Stage:
    """Return the last stage of deploy/Containerfile, on the Debian in ``base``."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for name, argument in instructions((ROOT / "deploy/Containerfile").read_text()):
        print(f"  {name} {argument}", flush=True)
        if name == "FROM":
            label = argument.partition(" AS ")[2] or "last"
            stage = stages[label] = Stage(_overlay(base, work / label))
        elif name == "RUN":
            stage.run(argument)
        elif name == "COPY":
            *options, source, target = shlex.split(argument)
            origin = stages[options[0].removeprefix("--from=")].root if options else context
            shutil.copytree(
                origin / source.strip("/"), stage.root / target.strip("/"), symlinks=True, dirs_exist_ok=True
            )
        elif name == "ENV":
            stage.env |= dict(each.split("=", 1) for each in shlex.split(argument))
        elif name != "ARG":
            stage.values[name] = argument
    return stage


def _overlay(lower: Path, work: Path) -> Path:
    for each in ("upper", "work", "root"):
        (work / each).mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={work}/upper,workdir={work}/work"
    subprocess.run(["mount", "-t", "overlay", "image", "-o", options, str(work / "root")], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(work / "root/proc")], check=True)
    return work / "root"


def prove(stage: Stage, work: Path) -> None:
    """Run the relay and a consumer of the image on a private broker and database."""
    for shell in _SHELLS:
        (stage.root / "bin" / shell).unlink(missing_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(stage.root / "tmp")], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(stage.root)], check=True)
    with private_stack(work / "stack") as variables:
        once = stage.env | variables
        for argv in (["ordermq", "db", "migrate"], ["ordermq", "topology", "apply"]):
            subprocess.run(stage.command(*argv), env=once, check=True, stdout=subprocess.DEVNULL)
        _serve(stage, once, ["ordermq-relay"], 19090)
        _serve(stage, once, ["ordermq-consumer", "--queue", "points"], 19091)


def _serve(stage: Stage, variables: dict[str, str], argv: list[str], port: int) -> None:
    env = variables | {"ORDERMQ_OBSERVE_HTTP_PORT": str(port)}
    healthcheck = json.loads(stage.values["HEALTHCHECK"].partition("CMD")[2])

    def says(*question: str) -> int:
        return subprocess.run(
            stage.command(*question), env=env, stdout=subprocess.DEVNULL, check=False
        ).returncode

    assert says(*healthcheck) == 1
    process = subprocess.Popen(stage.command(*argv), env=env, stderr=subprocess.DEVNULL)
    try:
        for ask in (healthcheck, [*healthcheck, "--ready"]):
            wait_until(lambda ask=ask: says(*ask) == 0, 60.0, what=" ".join(ask), every_s=0.2)
        process.terminate()
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()
    print(
        f"  ok  {argv[0]}: live, ready, stopped with 0; read-only, no shell, user {stage.values['USER']}",
        flush=True,
    )


@contextmanager
def private_stack(state: Path) -> Iterator[dict[str, str]]:
    """Start a private RabbitMQ and PostgreSQL; yield the variables that lead to them."""
    program = Path(sys.executable).with_name("ordermq")
    devstack = [str(program), "devstack", "--state", str(state)]
    subprocess.run([*devstack, "up"], check=True, stdout=subprocess.DEVNULL)
    try:
        said = subprocess.run([*devstack, "env"], check=True, capture_output=True, text=True).stdout
        words = [shlex.split(line.removeprefix("export ")) for line in said.splitlines()]
        yield dict(each.split("=", 1) for line in words for each in line if each.startswith("ORDERMQ_"))
    finally:
        subprocess.run([*devstack, "down", "--wipe"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Build and prove, in the folders that the arguments name: Debian, context, work."""
    base, context, work = map(Path, sys.argv[1:])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    prove(build(base, context, work), work)


if __name__ == "__main__":
    os.umask(0o022)
    main()
