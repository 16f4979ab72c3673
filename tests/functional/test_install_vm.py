"""bin/install-vm as far as it changes nothing; make test-systemd installs with it for real."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def install(*arguments, **options):
    command = [ROOT / "bin/install-vm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def pins(mark: str, version: str = "2.9") -> str:
    """A release's constraints: one package for everybody, two for extras."""
    hashed = f"--hash=sha256:{hashlib.sha256().hexdigest()}"
    return (
        f"# made by a test\nclick==8.1.7 {hashed}\n{mark}\nconfluent-kafka=={version} \\\n    {hashed}\n"
        f"# extra: audit, otel\ncffi==2.1 ; platform_python_implementation != 'PyPy' \\\n    {hashed}\n"
    )


@pytest.fixture
def dist(wheel, tmp_path):
    """A release's folder: the wheel, and a package by its hash."""
    (tmp_path / "constraints.txt").write_text(pins("# extra: kafka"))
    (tmp_path / wheel.name).symlink_to(wheel)
    return tmp_path


HAS_SYSTEMD = os.geteuid() == 0 and Path("/usr/bin/systemctl").exists()
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="asks systemd as root")


def test_the_help_has_examples_and_every_exit_code():
    shown = install("--help").stdout
    assert "bin/install-vm --wheels dist/wheels" in shown
    assert [
        code for code in ("0", "64", "65", "69", "73", "75", "77", "78", "130") if f"\n  {code} " not in shown
    ] == []


def test_a_python_that_is_too_old_is_named_with_what_to_install(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)

    refused = install("--help", env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)})

    assert refused.returncode == 69
    assert "older than Python 3.11: apt-get install python3 python3-venv" in refused.stderr


@needs_systemd
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense; see --help"),
        (["--rollback", "--prepare"], "--rollback goes with --dry-run and --no-restart only"),
        (["--dist", "/nonexistent", "--dry-run"], "/nonexistent/constraints.txt is missing: 'make dist'"),
        (["--own", "giftshop.zip", "--dry-run"], "giftshop.zip is no wheel"),
        (["--enable", "relais", "--dry-run"], "--enable: the release has no unit ordermq-relais.service"),
        (["--extras", "kafak", "--dry-run"], "the release has no extra kafak; it has audit, kafka, otel"),
        (["--enable", "audit.timer", "--extras", "kafka", "--dry-run"],
         "ordermq-audit.timer starts at boot and needs ordermq[audit]: --extras audit,kafka"),
        (["--rollback", "--extras", "none"], "--rollback goes with --dry-run and --no-restart only"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_arguments_ends_with_64_and_says_what_to_do(dist, arguments, text):
    if "--dist" not in arguments:
        arguments = [*arguments, "--dist", dist]
    refused = install(*arguments)
    assert (refused.returncode, refused.stdout.count("+ enabled")) == (64, 0)
    assert text in refused.stderr


@needs_systemd
def test_a_file_that_is_not_the_one_of_the_release_is_refused_with_65(dist, wheel):
    files = [dist / "constraints.txt", dist / wheel.name]
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in files]
    (dist / "SHA256SUMS").write_text(f"{digests[0]}  constraints.txt\n{digests[1]}  {wheel.name}\n")
    assert install("--dist", dist, "--dry-run").returncode == 0
    with files[0].open("a") as file:
        file.write("# another\n")

    refused = install("--dist", dist, "--dry-run")

    assert refused.returncode == 65
    assert f"{files[0]} is not the file that {dist}/SHA256SUMS is of" in refused.stderr


@needs_systemd
def test_a_dry_run_shows_every_change_as_a_diff_and_makes_none(dist, wheel):
    was_there = Path("/opt/ordermq").exists()

    shown = install(
        "--dist", dist, "--dry-run", "--extras", "kafka", "--enable", "relay,consumer@payment:1,prune.timer"
    )

    assert shown.returncode == 0, shown.stderr
    unit = (ROOT / "deploy/systemd/ordermq-relay.service").read_text().splitlines()
    added = [line[1:] for line in shown.stdout.splitlines() if line.startswith("+")]
    assert [line for line in unit if line not in added] == []
    assert f"+ release /opt/ordermq/{wheel.name.split('-')[1]}-" in shown.stdout
    assert "+ enabled ordermq-consumer@payment:1.service" in shown.stdout
    packages = [line for line in shown.stdout.splitlines() if line.startswith("+ package ")]
    assert packages == ["+ package click==8.1.7", "+ package confluent-kafka==2.9"]
    assert Path("/opt/ordermq").exists() == was_there


# --- its modules, where a machine would have to break ----------------------------

SYSTEMCTL = """#!/bin/sh
case "$*" in
list-units*failed*) echo "ordermq-consumer@payment.service loaded failed failed x"
                    echo "ordermq-consumer@tried.service   loaded failed failed x" ;;
esac
case "$*" in
list-units*) echo "ordermq-relay.service           loaded active running x"
             echo "ordermq-forward.service         loaded active running x"
             echo "ordermq-consumer@points.service loaded active running x" ;;
"is-enabled ordermq-consumer@tried.service") echo disabled; exit 1 ;;
is-enabled*) echo enabled ;;
restart*points*) exit 1 ;;
esac
"""


@pytest.fixture
def vm(monkeypatch, tmp_path):
    """The modules of deploy/vm, on a machine whose systemctl is SYSTEMCTL and that has its folders here."""
    monkeypatch.syspath_prepend(ROOT / "deploy/vm")
    spec = importlib.util.spec_from_file_location("install_vm", ROOT / "deploy/vm/__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    names = ("changes", "extras", "failure", "machine", "releases")
    found = SimpleNamespace(main=main, **{name: sys.modules.pop(name) for name in names})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(found.machine, "is_booted", lambda: True)
    monkeypatch.setattr(found.machine, "UNITS", tmp_path / "units")
    for module in (found.releases, main):
        for name, path in {"HOME": "", "CURRENT": "current", "PREVIOUS": "previous"}.items():
            monkeypatch.setattr(module, name, tmp_path / "opt" / path)
    found.home = tmp_path / "opt"
    found.home.mkdir()
    return found


def test_a_service_that_failed_is_restarted_too_if_it_starts_at_boot(vm):
    names = ("consumer@payment", "consumer@points", "forward", "relay")
    services = [f"ordermq-{name}.service" for name in names]
    assert vm.machine.active_services() == services


def test_a_rollback_that_stops_halfway_does_not_ask_for_a_second_one(vm):
    for goes_back in (False, True):
        restarted = vm.machine.restart(vm.machine.active_services(), goes_back=goes_back)
        assert next(restarted) == "ordermq-consumer@payment.service"
        with pytest.raises(vm.failure.InstallFailure) as stopped:
            next(restarted)
        left = (
            "systemctl restart ordermq-consumer@points.service ordermq-forward.service ordermq-relay.service"
        )
        assert (left in str(stopped.value)) == goes_back
        assert ("bin/install-vm --rollback" in str(stopped.value)) == (not goes_back)


def roll_back(vm, *migrations):
    """Roll back from a release that applied these to one that knows the first alone; nothing restarts."""
    for name, known in {"new": migrations, "old": migrations[:1]}.items():
        program = vm.home / name / "bin/ordermq"
        program.parent.mkdir(parents=True)
        said = [{"scope": "ordermq", "number": each, "applied": True} for each in known]
        program.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
        program.chmod(0o755)
        (vm.home / name / ".complete").touch()
    (vm.home / "current").symlink_to("new")
    (vm.home / "previous").symlink_to("old")
    vm.main._roll_back(SimpleNamespace(dry_run=False, no_restart=True, rollback=True))


def test_a_rollback_is_refused_with_64_where_no_release_was_before(vm):
    with pytest.raises(vm.failure.InstallFailure, match="there is no release to go back to") as refused:
        vm.main._roll_back(SimpleNamespace(dry_run=False))
    assert refused.value.exit_code == 64
    (vm.home / "current").symlink_to("new")
    (vm.home / "previous").symlink_to("old")
    with pytest.raises(vm.failure.InstallFailure, match="old, the release before, is gone") as refused:
        vm.main._roll_back(SimpleNamespace(dry_run=False))
    assert refused.value.exit_code == 64


def test_a_rollback_is_refused_with_78_if_the_database_is_newer_than_the_older_release(vm):
    with pytest.raises(
        vm.failure.InstallFailure, match="has ordermq 0002, which old does not know"
    ) as refused:
        roll_back(vm, 1, 2)
    assert refused.value.exit_code == 78
    assert os.readlink(vm.home / "current") == "new"


def test_a_rollback_goes_where_the_older_release_knows_every_table(vm, monkeypatch, capsys):
    monkeypatch.setattr(vm.machine, "runs_from", lambda name, folder: False)
    roll_back(vm, 1)
    assert (os.readlink(vm.home / "current"), os.readlink(vm.home / "previous")) == ("old", "new")
    assert "not restarted: ordermq-relay.service" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stderr", "code"), [("[Errno 28] No space left on device", 73), ("THESE PACKAGES DO NOT MATCH", 65)]
)
def test_half_a_release_neither_stays_on_a_full_disk_nor_counts_as_used(vm, wheel, monkeypatch, stderr, code):
    release = vm.releases.Release((wheel,), "", ())
    release.folder.mkdir()

    def run(command, **options):
        release.folder.mkdir(exist_ok=True)
        return SimpleNamespace(returncode=int("pip" in command), stderr=stderr)

    def free(path):
        return SimpleNamespace(free=0 if release.folder.exists() else 10**9)

    monkeypatch.setattr(vm.releases.subprocess, "run", run)
    monkeypatch.setattr(vm.releases.shutil, "disk_usage", free)
    with pytest.raises(vm.failure.InstallFailure, match="pip could not install") as failed:
        vm.releases.build(release)
    assert failed.value.exit_code == code
    assert not release.folder.exists()


def release_of(vm, dist, wanted):
    return vm.releases.find_release(dist, None, None, (), wanted)


@pytest.fixture
def of_this_machine(vm):
    """Makes a release the current one, as far as its extras are concerned."""

    def make(requirements: str) -> None:
        (vm.home / "x").mkdir(exist_ok=True)
        (vm.home / "x/requirements.txt").write_text(requirements)
        (vm.home / "current").unlink(missing_ok=True)
        (vm.home / "current").symlink_to("x")

    return make


def test_a_release_has_the_packages_of_the_extras_that_were_chosen_and_no_others(vm, dist):
    none, both = release_of(vm, dist, set()), release_of(vm, dist, {"otel", "kafka"})
    assert vm.extras.packages(none.requirements) == ["click==8.1.7"]
    assert vm.extras.packages(both.requirements) == ["click==8.1.7", "confluent-kafka==2.9", "cffi==2.1"]
    assert both.requirements.count("--hash=sha256:") == 4  # with that of the wheel
    assert none.folder != both.folder
    assert f"{both.folder} (ordermq-" in both.name
    assert "with kafka, otel, and what it needs" in both.name


def test_an_upgrade_keeps_the_extras_of_the_release_in_use_unless_others_are_chosen(
    vm, dist, of_this_machine
):
    assert release_of(vm, dist, None).extras == ()
    of_this_machine(release_of(vm, dist, {"kafka"}).requirements)
    (dist / "constraints.txt").write_text(pins("# extra: kafka", version="3.0"))
    newer = release_of(vm, dist, None)
    assert (newer.extras, vm.extras.packages(newer.pins)[1]) == (("kafka",), "confluent-kafka==3.0")
    shown = list(vm.main._packages(newer))
    assert shown == ["- package confluent-kafka==2.9", "+ package confluent-kafka==3.0"]
    assert release_of(vm, dist, set()).extras == ()
    (dist / "constraints.txt").write_text(pins("# of everybody now"))
    assert release_of(vm, dist, None).extras == ()


def test_a_release_installed_before_there_was_a_choice_keeps_what_it_has(vm, dist, of_this_machine):
    of_this_machine("click==8.1.7 --hash=sha256:0\ncffi==2.0 ; python_version < '4' --hash=sha256:0\n")
    assert release_of(vm, dist, None).extras == ("audit", "otel")


def test_a_unit_that_starts_at_boot_keeps_its_extra_from_being_left_out(vm):
    with pytest.raises(vm.failure.InstallFailure, match=r"ordermq-audit.timer .* --extras audit,kafka"):
        vm.main._check_extras([], ("kafka",))
    vm.main._check_extras([], ("audit", "kafka"))


def test_an_installation_that_was_interrupted_is_ended_by_the_same_command(vm, monkeypatch, capsys):
    unit = "systemd/ordermq-gone.service"
    (vm.home / "old/share/ordermq/systemd").mkdir(parents=True)
    (vm.home / "old/share/ordermq" / unit).touch()
    vm.machine.UNITS.mkdir()
    (vm.machine.UNITS / "ordermq-gone.service").touch()
    (vm.home / "current").symlink_to("new")
    (vm.home / "previous").symlink_to("old")
    assert [each.name for each in vm.main._switch(vm.home / "new", {})][:1] == ["- unit ordermq-gone.service"]

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(vm.machine, "check", interrupt)
    monkeypatch.setattr(sys, "argv", ["install-vm"])
    assert vm.main.main() == 130
    assert capsys.readouterr().err == "install-vm: interrupted; the same command goes on from there\n"
