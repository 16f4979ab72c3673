"""How commands end: an exit code, and one line that helps."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ordermq import errors
from ordermq.cli.run import run

BIN = Path(sys.executable).parent


def command_that(act):
    @click.command()
    @click.option("--count", type=int)
    def command(count):
        act()

    return command


def raising(error):
    def act():
        raise error

    return command_that(act)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 64),
        (errors.BadInput("x"), 65),
        (errors.PublishReturned("x"), 69),
        (errors.StoreUnavailable("x"), 75),
        (errors.ConfigError("x"), 78),
        (errors.OrderNotFound("x"), 1),
        (click.exceptions.Exit(1), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(error, code, capfd):
    assert run(raising(error), "tool", []) == code
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_is_one_line_that_says_what_to_do_next(capfd):
    run(raising(errors.StoreUnavailable("PostgreSQL is not reachable: refused")), "tool", [])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("tool: error: PostgreSQL is not reachable: refused; is PostgreSQL running")


def test_an_error_cannot_write_to_the_terminal_what_it_quotes(capfd):
    run(raising(errors.BadInput("order \x1b[2J")), "tool", [])
    assert "\x1b" not in capfd.readouterr().err


def test_a_bug_keeps_its_traceback_and_ends_with_70(capfd):
    assert run(raising(ZeroDivisionError()), "tool", []) == 70
    said = capfd.readouterr().err
    assert "ZeroDivisionError" in said
    assert "please report it" in said


def test_wrong_usage_ends_with_64(capfd):
    assert run(command_that(lambda: None), "tool", ["--count", "x"]) == 64
    assert "Invalid value for '--count'" in capfd.readouterr().err
    assert run(command_that(lambda: None), "tool", ["--unknown"]) == 64


def test_done_is_0():
    assert run(command_that(lambda: None), "tool", []) == 0


def program(*argv):
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMQ_")}
    env["ORDERMQ_CONFIG"] = ""
    argv = [str(BIN / argv[0]), *argv[1:]]
    return subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=60)


def test_debug_shows_the_traceback_of_an_error(tmp_path):
    quiet = program("ordermq", "config", "show", "--config", str(tmp_path / "none"))
    loud = program("ordermq", "config", "show", "--debug", "--config", str(tmp_path / "none"))
    assert (quiet.returncode, loud.returncode) == (78, 78)
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_a_reader_that_has_gone_ends_the_command_quietly():
    argv = [str(BIN / "ordermq-publish"), "generate", "--orders", "100000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_an_interrupt_ends_a_command_with_130_and_says_how_to_go_on(tmp_path):
    argv = [str(BIN / "ordermq-publish"), "orders", "-", "--offline"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        for _ in range(201):
            process.stdin.write(b"{\n")
        process.stdin.flush()
        assert b"is a pipe" in process.stderr.readline()  # so it is at work
        process.send_signal(2)
        said = process.stderr.read().decode()
        assert process.wait(30) == 130
    assert "run it again to go on" in said
    assert "Traceback" not in said
