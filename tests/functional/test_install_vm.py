"""bin/install-vm as far as it changes nothing; make test-systemd installs with it for real."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install(*arguments, **options):
    command = [ROOT / "bin/install-vm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def dist(wheel, tmp_path):
    """A release's folder: the wheel, and a package by its hash."""
    (tmp_path / "constraints.txt").write_text(f"click==8.1.7 --hash=sha256:{hashlib.sha256().hexdigest()}\n")
    (tmp_path / wheel.name).symlink_to(wheel)
    return tmp_path


needs_systemd = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/usr/bin/systemctl").exists(), reason="asks systemd as root"
)


def test_the_help_has_examples_and_every_exit_code():
    shown = install("--help").stdout
    assert "bin/install-vm --wheels dist/wheels" in shown
    assert [
        code for code in ("0", "64", "65", "69", "73", "75", "77", "78") if f"\n  {code} " not in shown
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

    shown = install("--dist", dist, "--dry-run", "--enable", "relay,consumer@payment:1,prune.timer")

    assert shown.returncode == 0, shown.stderr
    unit = (ROOT / "deploy/systemd/ordermq-relay.service").read_text().splitlines()
    added = [line[1:] for line in shown.stdout.splitlines() if line.startswith("+")]
    assert [line for line in unit if line not in added] == []
    assert f"+ release /opt/ordermq/{wheel.name.split('-')[1]}-" in shown.stdout
    assert "+ enabled ordermq-consumer@payment:1.service" in shown.stdout
    assert Path("/opt/ordermq").exists() == was_there
