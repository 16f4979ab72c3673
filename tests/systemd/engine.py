"""Build deploy/Containerfile with podman, and run what it makes, confined as compose.yaml has it.

The base is a Debian of debootstrap, because no registry is asked. Containers have this machine's network,
where the private broker and database listen. It runs in a mount namespace of its own (__main__.py).
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from ordermq.testing import wait_until
from tests.systemd.image import private_stack
from tests.systemd.kit import ROOT

IMAGE, BASE = "localhost/ordermq:test", "localhost/debian:13-slim"
_ORDERS = 20
# As compose.yaml has it of every container of ordermq.
_CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108 # of the container
_MIXED_CGROUPS = Path("/sys/fs/cgroup/unified")


class Podman:
    """Podman with a store of its own, where there is no systemd."""

    def __init__(self, work: Path) -> None:
        settings = work / "containers.conf"
        files, processes = (
            resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
        )
        processes = min(processes, 32768)  # podman has lowered its own to that
        settings.write_text(
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        self._env = {**os.environ, "CONTAINERS_CONF": str(settings)}
        self._command = ["podman", "--root", str(work / "store"), "--runroot", str(work / "run")]

    def run(self, *argv: str, stdin: IO[bytes] | None = None) -> str:
        """Run a command of podman and return what it printed. Ends the program if it fails."""
        done = self.ask(*argv, stdin=stdin)
        if done.returncode:
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise SystemExit(f"image: podman {' '.join(argv[:2])} exited with {done.returncode}:\n{said}")
        return done.stdout

    def ask(self, *argv: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of podman, whatever comes of it."""
        return subprocess.run(
            [*self._command, *argv], env=self._env, stdin=stdin or subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip


def build(podman: Podman, base: Path, kit: Path, work: Path) -> None:
    """Build the image. Packages come from the kit's folder of wheels in place of an index."""
    argv = ["tar", "-C", str(base), "--exclude=./proc/*", "-c", "."]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as tar:
        podman.run("import", "-", BASE, stdin=tar.stdout)
    (work / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /dist/wheels\n")
    podman.run(
        "build", "--file", str(ROOT / "deploy/Containerfile"), "--build-arg", f"BASE={BASE}",
        "--format", "docker", "--network", "host", "--volume", f"{work}/pip.conf:/etc/pip.conf:ro",
        "--tag", IMAGE, str(kit),
    )  # fmt: skip
    [image] = json.loads(podman.run("image", "inspect", IMAGE))
    assert image["Config"]["User"] == "10001:10001", image["Config"]
    # Without --format docker podman leaves it out, and says so in one line of many.
    assert image["Healthcheck"]["Test"] == ["CMD", "ordermq", "healthcheck"], image.get("Healthcheck")
    print(
        f"  ok  podman built deploy/Containerfile: {image['Size'] / 1e6:.0f} MB, user 10001, health check",
        flush=True,
    )


def prove(podman: Podman, work: Path) -> None:
    """Run a relay and a consumer; orders that are placed by a container go through both."""
    with private_stack(work / "stack") as variables:
        settings = work / "ordermq.env"
        settings.touch(0o600)
        settings.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        once = ("run", "--rm", "--network", "host", *_CONFINED, "--env-file", str(settings))
        for argv in (["ordermq", "db", "migrate"], ["ordermq", "topology", "apply"]):
            podman.run(*once, IMAGE, *argv)
        _begin(podman, settings, "relay", 19090, ["ordermq-relay"])
        _begin(podman, settings, "inventory", 19091, ["ordermq-consumer", "--queue", "inventory"])
        orders, stock = work / "orders.jsonl", work / "stock.csv"
        orders.write_text(podman.run(*once, IMAGE, "ordermq-publish", "generate", "--orders", str(_ORDERS)))

        def read_by(file: Path, *argv: str) -> str:
            with file.open("rb") as stdin:
                return podman.run(*once, "--interactive", IMAGE, *argv, stdin=stdin)

        stock.write_text(read_by(orders, "ordermq", "stock", "from-orders", "-", "--cover", "1"))
        read_by(stock, "ordermq", "stock", "load", "-")
        read_by(orders, "ordermq-publish", "orders", "-")

        def reserved() -> int:
            counts = json.loads(podman.run(*once, IMAGE, "ordermq", "order", "counts", "--json"))
            return int(counts.get("reserved", 0))

        wait_until(lambda: reserved() == _ORDERS, 60.0, what=f"{_ORDERS} orders are reserved", every_s=0.5)
        print(
            f"  ok  {_ORDERS} orders were placed and reserved by containers, read-only, without capabilities",
            flush=True,
        )
        for name in ("inventory", "relay"):
            _end(podman, name)
        for number, deployment in enumerate(_deployments()):
            _prove_pod(podman, deployment, variables, work, 19092 + number)


def _begin(podman: Podman, settings: Path, name: str, port: int, argv: Sequence[str]) -> None:
    """Start a container, and wait until the image's health check and the question for readiness say yes."""
    podman.run(
        "run", "--detach", "--name", name, "--network", "host", *_CONFINED, "--env-file", str(settings),
        "--env", f"ORDERMQ_OBSERVE_HTTP_PORT={port}", IMAGE, *argv,
    )  # fmt: skip
    for question in (("healthcheck", "run", name), ("exec", name, "ordermq", "healthcheck", "--ready")):
        wait_until(
            lambda question=question: podman.ask(*question).returncode == 0,
            60.0,
            what=f"{name} is up",
            every_s=0.5,
        )


def _end(podman: Podman, name: str) -> None:
    podman.run("stop", "--time", "40", name)
    [state] = json.loads(podman.run("inspect", name))
    assert state["State"]["ExitCode"] == 0, state["State"]
    print(f"  ok  {name}: live, ready, stopped with 0", flush=True)


def _deployments() -> list[dict[str, Any]]:
    """Return the relay and a consumer of deploy/kubernetes."""
    files = [ROOT / "deploy/kubernetes" / name for name in ("ordermq.yaml", "consumers.yaml")]
    found = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    names = ("relay", "consumer-points")
    return [each for each in found if each["kind"] == "Deployment" and each["metadata"]["name"] in names]


def _prove_pod(
    podman: Podman, deployment: dict[str, Any], variables: Mapping[str, str], work: Path, port: int
) -> None:
    """Run a Deployment as podman can: with this machine's network, and a folder in the place of the Secret.

    Left out are the port, which needs a network of the pod's own, and the probes, for which podman asks curl.
    """
    name = deployment["metadata"]["name"]
    secrets = {key: value for key, value in variables.items() if key.endswith("_PASSWORD")}
    folder = work / "secrets"
    folder.mkdir(exist_ok=True)
    data = dict(variables.items() - secrets.items()) | {"ORDERMQ_OBSERVE_HTTP_PORT": str(port)}
    for key, value in secrets.items():
        (folder / key.lower()).write_text(value)
        data[f"{key}_FILE"] = f"/run/secrets/ordermq/{key.lower()}"
    spec = deployment["spec"]["template"]["spec"] | {"hostNetwork": True}
    [container] = spec["containers"]
    for each in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
        del container[each]
    container["image"] = IMAGE
    spec["volumes"][0] = {"name": "secrets", "hostPath": {"path": str(folder), "type": "Directory"}}
    deployment["spec"]["replicas"] = 1
    deployment["spec"]["template"]["spec"] = spec
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ordermq"}, "data": data}
    file = work / f"{name}.yaml"
    file.write_text(yaml.safe_dump_all([settings, deployment]))
    podman.run("kube", "play", str(file))
    [runs] = [
        each
        for each in podman.run("ps", "--format", "{{.Names}}").split()
        if each.endswith(container["name"])
    ]
    ready = ("exec", runs, "ordermq", "healthcheck", "--ready")
    wait_until(lambda: podman.ask(*ready).returncode == 0, 60.0, what=f"{runs} is ready", every_s=0.5)
    [state] = json.loads(podman.run("inspect", runs))
    assert state["HostConfig"]["ReadonlyRootfs"]
    assert "CAP_CHOWN" in state["HostConfig"]["CapDrop"]
    _end(podman, runs)
    podman.run("kube", "down", str(file))


def main() -> None:
    """Build and prove, in the folders that the arguments name: Debian, kit, work."""
    base, kit, work = map(Path, sys.argv[1:])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if _MIXED_CGROUPS.is_dir():  # crun takes one version or the other
        subprocess.run(["umount", str(_MIXED_CGROUPS)], check=True)
    podman = Podman(work)
    try:
        build(podman, base, kit, work)
        prove(podman, work)
    finally:
        podman.ask("rm", "--all", "--force")


if __name__ == "__main__":
    main()
