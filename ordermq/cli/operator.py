"""The person who runs a command: their name, and their consent before many rows are changed."""

import os
import pwd
import socket
import sys

import click

from ordermq.config.environment import sudo_user


def actor() -> str:
    """Return who runs this command: ``user@host``, or ``caller/user@host`` by sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    caller = sudo_user()
    name = f"{caller}/{user}" if caller and caller != user else user
    return f"{name}@{socket.gethostname()}"[:200]


def ask(question: str, *, yes: bool) -> None:
    """Return if the person at the terminal agrees, or gave ``--yes``. Raises click.Abort or UsageError."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask at; add --yes.")
    click.confirm(question, abort=True, err=True)
