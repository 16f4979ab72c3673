"""Install, upgrade or roll back ordermq on this machine."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import changes
import extras
import machine
from changes import Change
from failure import CANNOT_WRITE, EXIT_CODES, INTERRUPTED, USAGE, InstallFailure
from releases import CURRENT, HOME, PREVIOUS, Release, build, find_release, is_complete, share_of

GROUP = "ordermq"
EXAMPLES = """\
examples:
  bin/install-vm --dry-run                              what would change, as a diff
  bin/install-vm --wheels dist/wheels                   without a network
  bin/install-vm --own giftshop-1.0-py3-none-any.whl --enable relay,consumer@gifts,consumer@dead
  bin/install-vm --extras audit,kafka --enable relay,forward,audit.timer
  bin/install-vm --prepare                              only the new folder: to migrate the database first
  bin/install-vm --rollback                             back to the release before"""


def main() -> int:
    options = _options()
    try:
        machine.check()
        if not options.dry_run:
            machine.lock()
        if options.rollback:
            _roll_back(options)
        else:
            _install(options)
    except InstallFailure as exc:
        print(f"install-vm: {exc}", file=sys.stderr)
        return exc.exit_code
    except (OSError, subprocess.CalledProcessError) as exc:
        print(f"install-vm: {exc}", file=sys.stderr)
        return CANNOT_WRITE
    except KeyboardInterrupt:
        print(f"install-vm: interrupted; {_go_on(options)}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _go_on(options: argparse.Namespace) -> str:
    if options.rollback:  # a second one would switch forward again
        return f"where {CURRENT} leads says whether it has switched; restart what does not run from there"
    return "the same command goes on from there"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"install-vm: {message}; see --help\n")


def _options() -> argparse.Namespace:
    parser = _Parser(
        prog="bin/install-vm", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Install or upgrade ordermq on Debian 12, 13 or Ubuntu 24.04 with systemd. A second run\n"
        "with the same arguments changes nothing. Settings and credentials are never overwritten.",
        epilog=f"{EXAMPLES}\n\n{EXIT_CODES}",
    )  # fmt: skip
    here = Path(__file__).resolve().parents[2]
    add = parser.add_argument
    add("--dist", type=Path, default=here / "dist", metavar="FOLDER",
        help="folder of the release: ordermq's wheel and constraints.txt (default: dist)")  # fmt: skip
    add("--wheels", type=Path, metavar="FOLDER", help="take every package from FOLDER, none from the network")
    add("--index", metavar="URL", help="package index in place of pip's own")
    add("--own", type=Path, action="append", default=[], metavar="WHEEL",
        help="install the wheel of a project of yours too; may be repeated")  # fmt: skip
    add("--extras", type=_names, metavar="NAMES",
        help="extras of ordermq: audit,kafka,otel, or none (default: those in use)")  # fmt: skip
    add("--enable", default="", metavar="UNITS",
        help="units to start at boot, without 'ordermq-': relay,consumer@payment:1,prune.timer")  # fmt: skip
    add("--prepare", action="store_true", help="install the release, and let everything run on as it is")
    add("--no-restart", action="store_true", help="switch, and restart no service")
    add("--rollback", action="store_true", help="switch back to the release before")
    add("--dry-run", action="store_true", help="show what would change, and change nothing")
    options = parser.parse_args()
    if options.rollback and (options.prepare or options.own or options.enable or options.extras is not None):
        parser.error("--rollback goes with --dry-run and --no-restart only")
    return options


def _names(text: str) -> set[str]:
    return {each.strip() for each in text.split(",")} - {"", "none"}


def _install(options: argparse.Namespace) -> None:
    release = find_release(options.dist, options.wheels, options.index, options.own, options.extras)
    _check_extras(_units(options.enable), release.extras)
    folder, share = release.folder, release.share()
    _apply(list(_foundation(release)), options)
    if options.prepare:
        print(f"prepared: {folder}/bin/ordermq db migrate, then the same command without --prepare")
        return
    services = machine.active_services()
    if services and is_complete(folder):
        machine.check_tables(folder)
    found = [*_configuration(share), *_switch(folder, share), *_enable(options.enable, share)]
    _apply(found, options)
    _restart(services, folder, options)


def _roll_back(options: argparse.Namespace) -> None:
    if not PREVIOUS.is_symlink():
        raise InstallFailure(USAGE, f"there is no release to go back to: {PREVIOUS} does not exist")
    older, newer = HOME / os.readlink(PREVIOUS), HOME / os.readlink(CURRENT)
    if not is_complete(older):
        raise InstallFailure(USAGE, f"{older}, the release before, is gone or incomplete")
    services = machine.active_services()
    if services:
        machine.check_older(newer, older)
    _apply(list(_switch(older, share_of(older))), options)
    _restart(services, older, options)


def _foundation(release: Release) -> Iterator[Change]:
    """Yield what nothing that runs notices: user, folders, and the release in its own folder."""
    yield from changes.user(GROUP)
    if "audit" in release.extras:
        yield from changes.user(f"{GROUP}-audit")
    yield from changes.folder(HOME, 0o755)
    yield from changes.folder(machine.SETTINGS, 0o750, GROUP)
    yield from changes.folder(machine.SETTINGS / "alert.d", 0o750, GROUP)
    yield from changes.folder(machine.CREDENTIALS, 0o700)
    if not is_complete(release.folder):
        name = f"+ {release.name}"
        yield Change(name, lambda: build(release), "\n".join([name, *_packages(release)]))


def _packages(release: Release) -> Iterator[str]:
    """Yield each package that the release in use does not have, or only has in another version."""
    file = CURRENT / "requirements.txt"
    old, new = set(extras.packages(file.read_text() if file.is_file() else "")), extras.packages(release.pins)
    yield from (f"- package {each}" for each in sorted(old - set(new)))
    yield from (f"+ package {each}" for each in sorted(set(new) - old))


def _configuration(share: dict[str, bytes]) -> Iterator[Change]:
    """Yield the settings where there are none, and always the release's example beside them."""
    example, settings = share["ordermq.toml"], machine.SETTINGS / "ordermq.toml"
    if not settings.exists():
        yield from changes.file(settings, example, 0o640, GROUP)
    yield from changes.file(machine.SETTINGS / "ordermq.toml.example", example, 0o640, GROUP)


def _switch(folder: Path, share: dict[str, bytes]) -> Iterator[Change]:
    """Yield the units of a release, and the links that make it the current one."""
    units = {Path(name).name: content for name, content in share.items() if name.startswith("systemd/")}
    found: list[Change] = []
    for name, content in sorted(units.items()):
        found += changes.file(machine.UNITS / name, content, 0o644)
    if CURRENT.is_symlink():
        before = os.readlink(CURRENT)
        # After an installation that was interrupted the release that had them is the previous one.
        others = {before, os.readlink(PREVIOUS)} if PREVIOUS.is_symlink() else {before}
        for name in sorted({Path(name).name for each in others for name in _units_of(HOME / each)}):
            if name not in units:
                found += _gone(name)
        if before != folder.name:
            yield from changes.link(PREVIOUS, before)
    yield from changes.link(CURRENT, folder.name)
    yield from found
    if machine.is_booted() and (found or machine.reads_old_units()):
        yield Change("+ systemctl daemon-reload", lambda: changes.run(["systemctl", "daemon-reload"]))


def _units_of(folder: Path) -> list[str]:
    return [name for name in share_of(folder) if name.startswith("systemd/")]


def _gone(unit: str) -> Iterator[Change]:
    if (machine.UNITS / unit).exists():
        yield Change(f"- unit {unit}", lambda: machine.forget(unit))


def _units(wanted: str) -> list[str]:
    names = [f"ordermq-{each.strip()}" for each in wanted.split(",") if each.strip()]
    return [name if name.endswith(".timer") else f"{name.removesuffix('.service')}.service" for name in names]


def _check_extras(wanted: list[str], has: tuple[str, ...]) -> None:
    """Raise InstallFailure if a unit that starts at boot needs an extra that is not chosen."""
    for unit, extra in extras.NEEDED_BY.items():
        if extra not in has and (unit in wanted or machine.is_enabled(unit)):
            also = ",".join(sorted({*has, extra}))
            raise InstallFailure(USAGE, f"{unit} starts at boot and needs ordermq[{extra}]: --extras {also}")


def _enable(wanted: str, share: dict[str, bytes]) -> Iterator[Change]:
    units = _units(wanted)
    for unit in ["ordermq.target", *units] if units else ():
        stem, at, rest = unit.partition("@")
        template = f"{stem}@.service" if at and rest else unit
        if f"systemd/{template}" not in share:
            raise InstallFailure(USAGE, f"--enable: the release has no unit {template}")
        if not machine.is_enabled(unit):
            yield Change(f"+ enabled {unit}", partial(changes.run, ["systemctl", "enable", "--quiet", unit]))


def _apply(found: list[Change], options: argparse.Namespace) -> None:
    for change in found:
        print(change.diff if options.dry_run and change.diff else change.name, flush=True)
        if not options.dry_run:
            change.make()


def _restart(services: list[str], folder: Path, options: argparse.Namespace) -> None:
    if not machine.is_booted():
        print("systemd does not run here, so nothing was started")
    stale = [name for name in services if not machine.runs_from(name, folder)]
    if options.dry_run or options.no_restart:
        for name in stale:
            print(f"{'would restart' if options.dry_run else 'not restarted'}: {name}")
    else:
        for name in machine.restart(stale, goes_back=options.rollback):
            print(f"restarted {name}")
    print(f"{'would be' if options.dry_run else 'is'} current: {folder}")


if __name__ == "__main__":
    sys.exit(main())
