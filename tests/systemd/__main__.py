"""Run the proofs: ``python -m tests.systemd [--suite trixie] [--kit --only kafka]``."""

import argparse
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

from ordermq.clock import monotonic_s
from tests.systemd import clean_root
from tests.systemd.kit import debian, make_kit
from tests.systemd.machine import Machine, why_not
from tests.systemd.proofs import PROOFS
from tests.systemd.shop import Shop
from tests.systemd.upgrades import upgrade_at_rest

BUILD = Path("build/systemd").resolve()
UNAVAILABLE = 69


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.systemd", description=__doc__)
    parser.add_argument(
        "--suite", choices=["bookworm", "trixie"], default="bookworm", help="the Debian to boot"
    )
    parser.add_argument("--roots", action="store_true", help="only install-vm in clean Debian 12 and 13")
    parser.add_argument("--image", action="store_true", help="only the image of deploy/Containerfile")
    parser.add_argument("--kit", action="store_true", help="take the kit of the last run")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="after an upgrade, the proofs with this word in their name"
    )
    options = parser.parse_args()
    if reason := why_not():
        print(f"test-systemd: cannot run here: {reason}", file=sys.stderr)
        return UNAVAILABLE
    BUILD.mkdir(parents=True, exist_ok=True)
    kit = BUILD / "kit"
    if not (options.kit and kit.exists()):
        say("building both releases, fetching wheels")
        make_kit(kit)
    if options.image:
        return _image(kit)
    suites = ("bookworm", "trixie") if options.roots else () if options.only else (options.suite,)
    for suite in suites:
        say(f"clean {suite}: install-vm")
        for seen in clean_root.prove(debian(suite, BUILD), kit, BUILD / "clean"):
            print(f"  ok  {seen}", flush=True)
    return 0 if options.roots else _boot(options.suite, kit, options.only)


def _image(kit: Path) -> int:
    say("carrying out deploy/Containerfile on a bare trixie")
    base = debian("trixie", BUILD, is_bare=True)
    if code := _apart("image", base, kit):
        return code
    if shutil.which("podman") is None:
        say("podman is not here, so no engine built the image: apt-get install podman crun catatonit")
        return 0
    say("building and running it with podman")
    return _apart("engine", base, kit)


def _apart(module: str, base: Path, kit: Path) -> int:
    """Run a module in a mount namespace of its own: nothing is left mounted."""
    argv = [sys.executable, "-m", f"tests.systemd.{module}", str(base), str(kit), str(BUILD / module)]
    return subprocess.run(["unshare", "--mount", "--propagation", "private", *argv], check=False).returncode


def _boot(suite: str, kit: Path, only: str) -> int:
    work = BUILD / "machine"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    machine = Machine(debian(suite, BUILD), kit, work)
    try:
        say(f"booting {suite}")
        machine.boot()
        shop = Shop(machine, work)
        say("installing the release before, by hand")
        shop.install_before()
        chosen = [each for each in PROOFS if only in each.__name__]
        for proof in [upgrade_at_rest, *chosen] if only else PROOFS:
            began_s = monotonic_s()
            seen = proof(shop)
            print(
                f"  ok  {proof.__name__.replace('_', ' ')} [{monotonic_s() - began_s:.0f} s]\n      {seen}",
                flush=True,
            )
    except Exception:  # whatever failed, the machine has to end, and its journal says why
        traceback.print_exc()
        (work / "journal.txt").write_text(machine.run("journalctl", "-b", "--no-pager", check=False))
        say(f"FAILED; see {work}/journal.txt")
        return 1
    finally:
        machine.close()
    say("everything is proved")
    return 0


def say(text: str) -> None:
    print(f"test-systemd: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
