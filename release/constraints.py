"""Every package that ordermq needs to run, one version each, with the hashes of all its files."""

import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from release.failure import ReleaseFailed, run
from release.source import ROOT

EXTRAS = ("audit", "kafka", "otel")  # those of setup.cfg that something which runs in production needs

_HEAD = """\
# What ordermq needs to run, with all of its extras, on Python 3.11 and newer. Made by `make dist`.
# pip install --require-hashes -r constraints.txt
# pip install --no-deps --no-index ordermq-*.whl        checked against SHA256SUMS
# Above a package that only an extra needs stands its name: bin/install-vm --extras chooses.
"""
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$")


def write(path: Path) -> dict[str, list[str]]:
    """Resolve the requirements of setup.cfg, write them, and return the hashes of each package."""
    text = _resolve(EXTRAS)
    pins = parse(text)
    path.write_text(text)
    # Each extra alone, held to the versions of all together.
    alone = {extra: set(parse(_resolve([extra], path))) for extra in EXTRAS}
    path.write_text(_HEAD + marked(text, set(parse(_resolve([], path))), alone))
    return pins


def marked(text: str, everybody: Set[str], alone: Mapping[str, Set[str]]) -> str:
    """Return the pins with a line above each package that only some extras need, which names them."""
    found = []
    for block in re.split(r"\n(?=\S)", text.strip()):
        ((pin, _),) = parse(block).items()
        extras = [] if pin in everybody else [name for name, pins in alone.items() if pin in pins]
        found += [f"# extra: {', '.join(sorted(extras))}"] if extras else []
        found.append(block)
    return "\n".join([*found, ""])


def _resolve(extras: Sequence[str], held_to: Path | None = None) -> str:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    argv = [
        uv, "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate", "--universal",
        "--generate-hashes", "--python-version", "3.11", "--python", sys.executable,
        *(f"--extra={extra}" for extra in extras), *(["--constraints", held_to] if held_to else []),
        "setup.cfg",
    ]  # fmt: skip
    certificates = {"SSL_CERT_FILE": _system_certificates()} if _system_certificates() else {}
    return run(argv, cwd=ROOT, env=certificates)


def parse(text: str) -> dict[str, list[str]]:
    """Return the hashes of each package. Raises ReleaseFailed for a line that is no pin with hashes."""
    pins: dict[str, list[str]] = {}
    for line in re.split(r"\n(?=\S)", text.strip()):
        if line.startswith("#"):
            continue
        requirement = re.sub(r" ; [^\\\n]*(?= \\)", "", line)  # of which Python and platform it is for
        match = _PIN.match(requirement)
        if match is None:
            raise ReleaseFailed(f"constraints: no pin of one version with its hashes: {line[:80]!r}")
        pins[f"{match[1]}=={match[2]}"] = re.findall(r"sha256:([0-9a-f]{64})", match[3])
    return pins


def _system_certificates() -> str:
    path = "/etc/ssl/certs/ca-certificates.crt"
    return path if Path(path).exists() else ""
