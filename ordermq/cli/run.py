"""How every command ends: an exit code, and for an error one line with its place and what to do next."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import click

from ordermq import failpoints
from ordermq.config import environment
from ordermq.errors import (
    AccessRefused,
    ConnectionLost,
    ExchangeMissing,
    OrderMQError,
    SchemaOutdated,
    StoreRefused,
    StoreUnavailable,
    TlsRefused,
)
from ordermq.observe.text import line

USAGE = 64
BUG = 70
INTERRUPTED = 128 + 2
PIPE_CLOSED = 128 + 13

EXIT_CODES = """\b
Exit codes:
  0   done                      70  a bug in ordermq or in a handler
  1   a check failed            75  try again later
  64  wrong usage               78  wrong configuration
  65  bad input data            130 interrupted
  69  a service refused"""

# What to do next, for errors whose text does not say it.
_NEXT: tuple[tuple[type[OrderMQError], str], ...] = (
    (StoreUnavailable, "is PostgreSQL running where 'ordermq config show' says (database.host, port, name)?"),
    (StoreRefused, "check database.username, its password and its rights ('ordermq config show')"),
    (SchemaOutdated, "see 'ordermq db status'"),
    (ConnectionLost, "is RabbitMQ running where 'ordermq config show' says (broker.hosts)?"),
    (TlsRefused, "check broker.tls, ca_file, cert_file and the port in broker.hosts ('ordermq config show')"),
    (ExchangeMissing, "'ordermq topology apply' creates it"),
    (AccessRefused, "check broker.username, its password, vhost and permissions ('ordermq config show')"),
)


@dataclass
class Invocation:
    """The values of options that all commands have; click's ``obj``."""

    debug: bool = False


def main(command: click.Command, prog_name: str) -> NoReturn:
    """Run ``command`` with the process's arguments and exit."""
    sys.exit(run(command, prog_name, sys.argv[1:]))


def run(command: click.Command, prog_name: str, args: Sequence[str]) -> int:
    """Run ``command``; return the exit code. A traceback is written only for a bug or with --debug."""
    invocation = Invocation()
    _show_everything()
    try:
        failpoints.arm(environment.failpoint())
        code = command.main(list(args), prog_name, standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as exc:
        exc.show()
        return USAGE
    except BrokenPipeError:
        silence_stdout()
        return PIPE_CLOSED
    except OrderMQError as exc:
        if invocation.debug:
            traceback.print_exc()
        click.echo(f"{prog_name}: error: {explain(exc)}", err=True)
        return exc.exit_code
    except Exception:  # any other error is a bug, and a bug keeps its traceback
        traceback.print_exc()
        click.echo(f"{prog_name}: this is a bug; please report it with the lines above", err=True)
        return BUG


def _show_everything() -> None:
    """Have characters that the terminal's encoding cannot show written as ``\\u20ac``, as stderr does."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def explain(error: OrderMQError) -> str:
    """Return the error's text, safe for a terminal, with what to do next."""
    text = "\n  ".join(line(each) for each in str(error).splitlines()) or type(error).__name__
    for kind, advice in _NEXT:
        if isinstance(error, kind):
            return f"{text}; {advice}"
    return text


def silence_stdout() -> None:
    """Send stdout to /dev/null: its reader has gone, and the flush at exit would report an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
