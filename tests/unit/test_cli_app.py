"""What a user finds in the commands' help, and what it costs to ask for it."""

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ordermq import cli
from ordermq.cli import app, publish
from ordermq.cli.processes import consumer, relay
from ordermq.errors import ConfigError
from ordermq.shop import cli as shop_cli

HEAVY = ("pika", "psycopg2", "msgspec", "prometheus_client", "tenacity", "ordermq.shop.handlers")


def leaves(command, path):
    """Yield every command below ``command`` with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if name == "devstack":
            continue  # a tool of developers: it needs no settings, and few examples
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
    assert "{{" not in text
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
    for command in [command for path, command in ALL if path[-1] == word]:
        assert "--dry-run" in {option for parameter in command.params for option in parameter.opts}


def test_each_command_is_in_the_list_under_its_own_name():
    for package in (cli, shop_cli):
        for name in package.COMMANDS:
            home = getattr(package, "ELSEWHERE", {}).get(name, f"{package.__name__}.{name}")
            assert importlib.import_module(home).command.name == name
        for name in package.PUBLISH_COMMANDS:
            assert importlib.import_module(f"{package.__name__}.publish_{name}").command.name == name


@pytest.mark.parametrize(
    ("program", "argv", "shown", "unneeded"),
    [
        ("app", ["--help"], ["order", "stock", "topology"], (*HEAVY, "ordermq.config.settings")),
        ("publish", ["--help"], ["generate", "orders", "messages"], (*HEAVY, "ordermq.config.settings")),
        ("app", ["config", "show"], ['modules = ["ordermq.shop"]', "shop.payment_url ="], HEAVY),
    ],
)
def test_help_and_settings_are_shown_without_importing_what_they_do_not_need(program, argv, shown, unneeded):
    script = (
        f"import sys; from ordermq.cli.{program} import app; app({argv!r}, standalone_mode=False);"
        f"print([name for name in {unneeded!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
    for text in shown:
        assert f"\n{text}" in f"\n{found.stdout}".replace("\n  ", "\n")


@pytest.fixture
def gifts(tmp_path, monkeypatch):
    """A project with a module ``gifts`` that brings a command to each program."""
    package = tmp_path / "giftshop"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from ordermq.module import Module\nmodule = Module('gifts', commands='giftshop.commands')\n"
    )
    (package / "commands").mkdir()
    (package / "commands/__init__.py").write_text(
        "COMMANDS = {'gift-list': 'List gifts.'}\nPUBLISH_COMMANDS = {'gifts': 'Wrap many.'}\n"
    )
    command = "import click\n\n@click.command()\ndef command():\n    click.echo('here')\n"
    (package / "commands/gift_list.py").write_text(command)
    (package / "commands/publish_gifts.py").write_text(command)
    monkeypatch.syspath_prepend(tmp_path)
    return "giftshop"


def test_commands_are_those_of_the_modules_in_force(gifts, monkeypatch):
    monkeypatch.setenv("ORDERMQ_MODULES", gifts)
    for program, brought, others in (
        (app.app, "gift-list", ["order", "stock"]),
        (publish.app, "gifts", ["orders", "generate"]),
    ):
        listed = program.list_commands(click.Context(program))
        assert brought in listed
        assert not set(others) & set(listed)
        assert CliRunner().invoke(program, [brought]).output == "here\n"
        assert "No such command" in CliRunner().invoke(program, others[:1]).output


def test_the_modules_of_the_file_a_command_is_given_bring_its_commands(gifts, tmp_path):
    file = tmp_path / "ordermq.toml"
    file.write_text(f'modules = ["{gifts}"]\n')
    found = CliRunner().invoke(app.app, ["order", "list", "--config", str(file)])
    assert "No such command 'order'" in found.output


@pytest.mark.parametrize("text", ["modules = [", 'modules = ["no_such_module"]\n', "modules = 3\n"])
def test_help_is_shown_whatever_is_wrong_with_the_file_and_the_command_says_what(text, tmp_path, monkeypatch):
    file = tmp_path / "ordermq.toml"
    file.write_text(text)
    monkeypatch.setenv("ORDERMQ_CONFIG", str(file))
    assert "  order  " in CliRunner().invoke(app.app, ["--help"]).output
    found = CliRunner().invoke(app.app, ["order", "list"])
    assert isinstance(found.exception, ConfigError)
    assert str(file) in str(found.exception)


def test_a_module_cannot_have_the_name_of_a_section_of_the_framework(tmp_path, monkeypatch):
    (tmp_path / "broker_module.py").write_text(
        "from ordermq.module import Module\n"
        "module = Module('broker', settings='ordermq.config.settings:BrokerSettings')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ORDERMQ_MODULES", "broker_module")
    found = CliRunner().invoke(app.app, ["config", "show"])
    assert "[broker] is the framework's" in str(found.exception)


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
    assert "there are: modules, broker, database" in found.output


def test_a_topology_is_that_of_the_modules_in_force(monkeypatch):
    monkeypatch.setenv("ORDERMQ_MODULES", "tests.support.probe")
    text = CliRunner().invoke(app.app, ["topology", "apply", "--dry-run"]).output
    assert "orders.single" in text
    assert "orders.inventory" not in text


def test_a_topology_can_be_read_without_a_broker():
    text = CliRunner().invoke(app.app, ["topology", "apply", "--dry-run"]).output
    assert "would declare queue orders.inventory (quorum)" in text
    assert "would declare binding orders.dead -[shipping]-> orders.dead" in text
