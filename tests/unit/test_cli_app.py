"""What a user finds in the commands' help, and what it costs to ask for it."""

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ordermq.cli import app, consumer, publish, relay
from ordermq.errors import ConfigError

HEAVY = ("pika", "psycopg2", "msgspec", "prometheus_client", "tenacity")


def leaves(command, path):
    """Yield every command below ``command`` with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


ALL = [
    *leaves(app.app, ("ordermq",)),
    *leaves(publish.app, ("ordermq-publish",)),
    (("ordermq-consumer",), consumer.command),
    (("ordermq-relay",), relay.command),
]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_command_explains_itself_in_80_columns_with_examples_and_exit_codes(path, command):
    text = CliRunner().invoke(command, ["--help"], terminal_width=80).output
    assert f"  {' '.join(path)}" in text.partition("Examples:")[2]
    assert "78  wrong configuration" in text
    assert max(map(len, text.splitlines())) <= 100
    options = {option for parameter in command.params for option in parameter.opts}
    if path[1:] not in {("completion",), ("new",)}:
        assert {"--config", "--debug"} <= options


@pytest.mark.parametrize("words", ["list", "show", "status", "counts", "reconcile", "verify"])
def test_what_lists_can_print_json(words):
    for path, command in ALL:
        if path[-1] == words:
            assert "--json" in {option for parameter in command.params for option in parameter.opts}, path


@pytest.mark.parametrize("word", ["migrate", "apply", "cancel", "load", "replay", "orders", "messages"])
def test_what_changes_something_can_be_tried_dry(word):
    (command,) = [command for path, command in ALL if path[-1] == word]
    assert "--dry-run" in {option for parameter in command.params for option in parameter.opts}


def test_each_command_is_in_the_list_under_its_own_name():
    for name in app.COMMANDS:
        assert importlib.import_module(f"ordermq.cli.{name}").command.name == name


def test_asking_for_help_imports_no_driver():
    script = (
        "import sys; from ordermq.cli.app import app; app(['--help'], standalone_mode=False);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_every_program(shell):
    text = CliRunner().invoke(app.app, ["completion", shell]).output
    for variable in ("_ORDERMQ_COMPLETE", "_ORDERMQ_CONSUMER_COMPLETE", "_ORDERMQ_PUBLISH_COMPLETE"):
        assert variable in text


def test_config_show_names_value_unit_and_origin(tmp_path):
    file = tmp_path / "ordermq.toml"
    file.write_text("[consumer]\nthreads = 9\n[shop]\ngateway_timeout_s = 7\n")
    text = CliRunner().invoke(app.app, ["config", "show", "--config", str(file)]).output
    assert f"consumer.threads = 9  ({file}:2)" in text
    assert f"shop.gateway_timeout_s = 7 s  ({file}:4)" in text
    assert "broker.heartbeat_s = 10 s  (default)" in text


def test_config_show_of_a_section_that_is_none_names_those_there_are():
    found = CliRunner().invoke(app.app, ["config", "show", "brokers"])
    assert "there are: broker, database" in found.output


def test_a_command_about_orders_needs_their_handlers(monkeypatch):
    monkeypatch.setenv("ORDERMQ_CONSUMER_HANDLERS", "tests.support.probe")
    for argv in (["order", "list"], ["stock", "show"], ["reconcile"]):
        found = CliRunner().invoke(app.app, argv)
        assert isinstance(found.exception, ConfigError)
        assert "ordermq.shop.handlers" in str(found.exception)
    text = CliRunner().invoke(app.app, ["topology", "apply", "--dry-run"]).output
    assert "orders.inventory" not in text


def test_a_topology_can_be_read_without_a_broker():
    text = CliRunner().invoke(app.app, ["topology", "apply", "--dry-run"]).output
    assert "would declare queue orders.inventory (quorum)" in text
    assert "would declare binding orders.dead -[shipping]-> orders.dead" in text
