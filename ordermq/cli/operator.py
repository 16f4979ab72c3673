"""Changing things by hand: who does it, and being asked before many are changed."""

import os
import pwd
import socket
import sys

import click

from ordermq.config.environment import sudo_user


class NotToBeDone(Exception):  # no error: it makes the transaction of a dry run roll back
    """Raised at the end of a dry run's transaction."""


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
    """Go on if the person at the terminal agrees, or has said ``--yes``. Raises click.Abort or UsageError."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to be asked: say --yes.")
    click.confirm(question, abort=True, err=True)
