"""A witness, which is another implementation, cosigns what continues and refuses a fork."""

import json
import subprocess
from contextlib import contextmanager

from click.testing import CliRunner

from ordermq.audit.signing import opened
from ordermq.cli import app
from ordermq.cli.run import run
from ordermq.testing import wait_until
from ordermq.testing.stack.ports import free_ports, is_open
from tests.support.audit_log import AICS, MadeLog, independent, needs_aics

pytestmark = needs_aics


@contextmanager
def witness_of(folder, log):
    """Run a witness that knows the log; yield its address and its key."""
    (port,) = free_ports(1)
    program, config = str(AICS / "aics-witness"), ["--config", str(folder / "witness.json")]
    wanted = ["--name", "witness.example.org/w1", "--listen", f"127.0.0.1:{port}", "--db", "w.db"]
    said = subprocess.run(
        [program, "init", *config, *wanted, "--key-file", "w.key"], capture_output=True, text=True, check=True
    ).stdout
    vkey = next(word for word in said.split() if word.startswith("witness.example.org/w1+"))
    known = ["add-log", *config, "--origin", log.key.name, "--vkey", log.vkey]
    subprocess.run([program, *known], capture_output=True, check=True)
    process = subprocess.Popen(
        [program, "serve", *config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_open(port), timeout_s=20)
        yield f"http://127.0.0.1:{port}", vkey
    finally:
        process.terminate()
        process.wait(20)


def test_a_witness_cosigns_what_continues_and_refuses_a_fork_a_cut_and_another_key(tmp_path, capsys):
    log = MadeLog(tmp_path / "log")
    log.grow(300)
    with witness_of(tmp_path, log) as (url, vkey):
        options = ["audit", "witness", url, "--witness-key", vkey, "--key", log.vkey]

        def ask(folder):
            """Return the exit code and what is said."""
            code = run(app.app, "ordermq", [*options, "--log", str(folder)])
            return code, "".join(capsys.readouterr())

        assert ask(log.folder) == (0, f"cosigned by witness.example.org/w1: 300 entries of {log.key.name}\n")
        log.grow(1000)
        assert ask(log.folder)[0] == 0
        assert ask(log.folder)[0] == 0  # the same once more
        note = opened(log.files.read("checkpoint"), log.key.verifier).note
        assert [each.name for each in note.signatures] == [log.key.name, "witness.example.org/w1"]
        text = CliRunner().invoke(
            app.app,
            ["audit", "verify", "--log", str(log.folder), "--key", log.vkey, "--witness-key", vkey,
             "--quorum", "1", "--json"],
        ).output  # fmt: skip
        assert json.loads(text)["cosigned"] == ["witness.example.org/w1"]
        assert "size=1300" in independent(log.folder, log.vkey, vkey)

        fork = MadeLog(tmp_path / "fork")
        fork.key = log.key
        fork.entries = [b"demo\nA-1\n0\nanother"]
        fork.grow(1200)
        code, text = ask(fork.folder)
        assert (code, "older checkpoint" in text) == (1, True)
        fork.grow(400)
        code, text = ask(fork.folder)
        assert (code, "forked history" in text) == (1, True)

        stranger = MadeLog(tmp_path / "stranger")
        stranger.grow(1300)
        options[-1] = stranger.vkey
        code, text = ask(stranger.folder)
        assert (code, "swapped key" in text) == (1, True)
    options[-1] = log.vkey
    code, text = ask(log.folder)
    assert (code, "does not answer" in text) == (75, True)
