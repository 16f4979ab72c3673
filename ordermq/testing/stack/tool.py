"""How the developers' long-running tools end: one line for an error, and nothing left running."""

import signal
import sys
from typing import NoReturn

import click

from ordermq.errors import OrderMQError


def run_tool(command: click.Command, name: str) -> NoReturn:
    """Run ``command`` with the process's arguments and exit; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command(standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{name}: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(64)
    except OrderMQError as exc:
        click.echo(f"{name}: {exc}", err=True)
        sys.exit(exc.exit_code)
    sys.exit(0)
