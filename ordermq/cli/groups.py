"""A group of commands, of which each is imported when it is run: help and completion need no driver.

A package of commands names them in tables of name and help; see ``commands`` of
``ordermq.module.Module``. ``ordermq.cli`` is such a package too.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import click

import ordermq.cli
from ordermq.cli.modules import modules_for_help, modules_of
from ordermq.module import Module

_CONFIG = "ordermq.config_path"


class CommandGroup(click.Group):
    """The commands of the framework's own package, then those of the modules in force.

    ``table`` is the name of the table in each package, ``prefix`` what the name of a
    command's module begins with. Of two commands of one name the first is taken.
    """

    def __init__(self, *, table: str = "COMMANDS", prefix: str = "", **attrs: Any) -> None:
        super().__init__(**attrs)
        self._table = table
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._helps(_config_of(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        package = self._package_of(cmd_name, ctx)
        if package is None:
            return None
        name = f"{self._prefix}{cmd_name}".replace("-", "_")
        elsewhere: Mapping[str, str] = getattr(package, "ELSEWHERE", {})
        home = elsewhere.get(name, f"{package.__name__}.{name}")
        command: click.Command = import_module(home).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        ctx.meta[_CONFIG] = _config_in(args)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            hint = "Modules bring commands; 'ordermq config show modules' prints those in force."
            raise click.UsageError(f"{exc.message} {hint}", ctx) from exc

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._helps(_config_of(ctx)).items()))

    def _helps(self, path: str | None) -> dict[str, str]:
        """Return the help of each command by its name."""
        helps: dict[str, str] = {}
        for package in _packages(modules_for_help(path)):
            helps = {**self._commands_of(package), **helps}
        return helps

    def _package_of(self, command: str, ctx: click.Context) -> ModuleType | None:
        """Return the package that holds ``command``. Raises ConfigError if the modules cannot be loaded."""
        if command in self._commands_of(ordermq.cli):
            return ordermq.cli
        modules = modules_for_help if ctx.resilient_parsing else modules_of
        for package in _packages(modules(_config_of(ctx))):
            if command in self._commands_of(package):
                return package
        return None

    def _commands_of(self, package: ModuleType) -> Mapping[str, str]:
        commands: Mapping[str, str] = getattr(package, self._table, {})
        return commands


def _packages(modules: Sequence[Module]) -> list[ModuleType]:
    return [ordermq.cli, *(each.load("commands") for each in modules if each.commands)]


def _config_of(ctx: click.Context) -> str | None:
    path: str | None = ctx.meta.get(_CONFIG)
    return path


def _config_in(args: Sequence[str]) -> str | None:
    """Return what ``--config`` names among a command's arguments: it says which modules are in force."""
    for position, each in enumerate(args):
        if each.startswith("--config="):
            return each.partition("=")[2]
        if each == "--config":
            return "".join(args[position + 1 : position + 2]) or None
    return None
