"""The units in deploy/systemd, as systemd itself reads them and as the settings need them."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ordermq.cli.new import project
from ordermq.config.schema import FRAMEWORK, declared
from ordermq.config.settings import Settings
from ordermq.errors import ConfigError, NotProven, StoreUnavailable, UsageError

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
FORWARD = "ordermq-forward.service"
SERVICES = ("ordermq-relay.service", "ordermq-consumer@.service", FORWARD)
PRUNE = "ordermq-prune.service"
RECONCILE = "ordermq-reconcile.service"
ALERT = "ordermq-alert@.service"
AUDIT = "ordermq-audit.service"
TIMERS = ("ordermq-prune.timer", "ordermq-reconcile.timer")
INSTANCES = {
    # Not payment:2, because systemd-analyze verify takes what follows a colon for an alias.
    "ordermq-consumer@payment.service": "ordermq-consumer@.service",
    "ordermq-alert@ordermq-relay.service.service": ALERT,
}
UNITS_SEEN = [
    "ordermq.target",
    "ordermq-relay.service",
    FORWARD,
    PRUNE,
    RECONCILE,
    AUDIT,
    "ordermq-audit.timer",
    *TIMERS,
    *INSTANCES,
]


def lines(unit: str, key: str) -> list[str]:
    """Every value ``key`` is given in the unit, in order."""
    pairs = (line.split("=", 1) for line in (UNITS / unit).read_text().splitlines() if "=" in line)
    return [value for name, value in pairs if name == key]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing: install the package systemd")
        pytest.skip("systemd-analyze is missing (Debian: package systemd); fails where CI is set")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def units(tmp_path) -> Path:
    """The units with a program that exists: ``verify`` wants to see it, and nothing is installed here."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/ordermq/current/bin/", f"{tmp_path}/")
        (tmp_path / unit.name).write_text(text)
    for instance, template in INSTANCES.items():
        (tmp_path / instance).symlink_to(template)
    for program in ("ordermq", "ordermq-relay", "ordermq-consumer"):
        (tmp_path / program).symlink_to("/bin/true")
    return tmp_path


def test_systemd_accepts_the_units_without_a_word(units):
    assert {INSTANCES.get(each, each) for each in UNITS_SEEN} == {each.name for each in UNITS.iterdir()}

    said = analyze("verify", "--man=no", *(str(units / each) for each in UNITS_SEEN))

    # An unknown key is only a warning: the exit code alone would hide a misspelt hardening.
    about_ours = [line for line in said.stderr.splitlines() if "ordermq" in line]
    assert (said.returncode, about_ours) == (0, [])


def test_systemd_accepts_the_drop_in_of_a_new_project_without_a_word(units):
    folder = units / "ordermq-consumer@gifts.service.d"
    folder.mkdir()
    text = dict(project("giftshop"))[Path("deploy/giftshop.conf")]
    (folder / "giftshop.conf").write_text(text.replace("#IPAddressAllow", "IPAddressAllow"))
    (units / "ordermq-consumer@gifts.service").symlink_to("ordermq-consumer@.service")

    said = analyze("verify", "--man=no", str(units / "ordermq-consumer@gifts.service"))

    about_ours = [line for line in said.stderr.splitlines() if "ordermq" in line or "giftshop" in line]
    assert (said.returncode, about_ours) == (0, [])


def test_systemd_rates_the_exposure_of_each_service_at_two_of_ten_or_less(units):
    services = [str(units / each) for each in UNITS_SEEN if each.endswith(".service")]
    said = analyze("security", "--offline=true", "--threshold=20", "--no-pager", *services)

    assert said.returncode == 0, said.stdout + said.stderr
    assert len(services) == 7


@pytest.mark.parametrize("unit", SERVICES)
def test_starting_and_stopping_have_more_time_than_the_settings_take(unit):
    settings = Settings()
    (start_s,), (stop_s,) = lines(unit, "TimeoutStartSec"), lines(unit, "TimeoutStopSec")

    assert float(start_s) > settings.broker.give_up_after_s
    assert float(stop_s) > settings.consumer.drain_deadline_s
    assert float(stop_s) > settings.broker.confirm_timeout_s + settings.database.statement_timeout_s
    assert float(stop_s) > settings.kafka.delivery_timeout_s + settings.database.statement_timeout_s


@pytest.mark.parametrize("unit", [*SERVICES, PRUNE, RECONCILE])
def test_only_what_needs_a_human_prevents_the_restart(unit):
    (codes,) = lines(unit, "RestartPreventExitStatus")

    assert {int(code) for code in codes.split()} == {UsageError.exit_code, ConfigError.exit_code}
    assert lines(unit, "Restart") == ["always" if unit in SERVICES else "on-failure"]
    assert lines(unit, "StartLimitIntervalSec") == ["2h" if unit == RECONCILE else "0"]
    assert lines(unit, "OnFailure") == ["ordermq-alert@%n.service"]


def test_an_alert_says_which_unit_failed_and_runs_every_program_of_the_folder(tmp_path):
    for name, line in (
        ("10-mail", 'echo "mail: $1, $2"'),
        ("20-broken", "exit 3"),
        ("30-page", 'echo "page: $1"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "README").write_text("not a program")
    monitor = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "78"}
    env = {"PATH": "/usr/bin:/bin", "ORDERMQ_ALERT_FOLDER": str(tmp_path)}
    env |= {f"MONITOR_{name}": value for name, value in monitor.items()}
    command = ["/bin/sh", str(ROOT / "deploy/ordermq-alert"), "ordermq-relay.service"]

    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)

    first, *others = said.stdout.splitlines()
    assert first.startswith("<1>ordermq-relay.service has failed on ")
    assert "(exit-code exited 78): journalctl -u ordermq-relay.service" in first
    assert others == [
        "mail: ordermq-relay.service, exit-code exited 78",
        f"<3>{tmp_path}/20-broken ended with 3, so it may not have told anybody of ordermq-relay.service",
        "page: ordermq-relay.service",
    ]
    assert (said.returncode, said.stderr) == (1, "")


@pytest.mark.parametrize(("state", "alerts"), [("activating", 0), ("active", 0), ("failed", 1), ("", 1)])
def test_what_systemd_starts_again_by_itself_is_no_alert(tmp_path, state, alerts):
    """From systemd 254 on, OnFailure= is started for that too."""
    asked = '[ "$*" = "show --value --property=ActiveState -- ordermq-relay.service" ] || exit 1'
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n{asked}\necho {state}\n")
    (tmp_path / "systemctl").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ORDERMQ_ALERT_FOLDER": "/nonexistent"}
    command = ["/bin/sh", str(ROOT / "deploy/ordermq-alert"), "ordermq-relay.service"]

    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=True)

    assert said.stdout.count("<1>ordermq-relay.service has failed") == alerts


@pytest.mark.parametrize("unit", SERVICES)
def test_every_secret_of_the_framework_comes_as_a_credential(unit):
    """A login at Kafka is optional, and systemd starts nothing whose credential is missing."""
    credentials = {line.partition(":")[0] for line in lines(unit, "LoadCredential")}
    text = (UNITS / unit).read_text()
    of_drop_ins = set(re.findall(r"^# .* in a drop-in: LoadCredential=(\w+):", text, re.MULTILINE))

    wanted = {each.credential for each in declared(FRAMEWORK).values() if each.is_secret}
    strangers = {"broker_password"} if unit == FORWARD else {"kafka_password"}
    assert credentials | of_drop_ins == wanted - strangers
    assert of_drop_ins == ({"kafka_password"} if unit == FORWARD else set())


@pytest.mark.parametrize("unit", [PRUNE, RECONCILE])
def test_what_a_timer_starts_knows_the_password_of_the_database_and_no_other(unit):
    credentials = [line.partition(":")[0] for line in lines(unit, "LoadCredential")]

    assert credentials == ["database_password"]
    assert lines(unit, "Type") == ["oneshot"]


def test_the_audit_log_has_a_user_of_its_own_its_key_and_an_alert_when_it_does_not_hold():
    credentials = [line.partition(":")[0] for line in lines(AUDIT, "LoadCredential")]

    assert credentials == ["audit_key", "database_password"]
    assert lines(AUDIT, "User") == ["ordermq-audit"]
    assert lines(AUDIT, "SuccessExitStatus") == [str(StoreUnavailable.exit_code)]
    assert NotProven.exit_code not in {0, StoreUnavailable.exit_code}
    assert lines(AUDIT, "OnFailure") == ["ordermq-alert@%n.service"]
    assert analyze("calendar", *lines("ordermq-audit.timer", "OnCalendar")).returncode == 0


@pytest.mark.parametrize("timer", TIMERS)
def test_a_timer_starts_once_a_day_and_makes_up_for_a_day_missed(timer):
    (calendar,) = lines(timer, "OnCalendar")

    said = analyze("calendar", "--iterations=2", calendar)

    times = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", said.stdout)
    days = sorted({time.split()[0] for time in times})
    assert (said.returncode, len(days)) == (0, 2)
    assert lines(timer, "Persistent") == ["true"]


@pytest.mark.parametrize("unit", [*SERVICES, PRUNE, RECONCILE, AUDIT])
def test_the_unit_starts_a_program_the_package_installs(unit):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = [line.split(" = ")[0] for line in setup["options.entry_points"]["console_scripts"].split("\n")]
    (command,) = lines(unit, "ExecStart")

    assert Path(command.split()[0]).name in scripts
