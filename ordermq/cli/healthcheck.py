"""``ordermq healthcheck``: asks the process of this machine or container whether it is well."""

import http.client
import json
from contextlib import closing

import click

from ordermq.cli.options import common
from ordermq.cli.output import write
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.settings import load_settings
from ordermq.errors import ConfigError

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # what a process listens on, and where to ask it


@click.command(
    "healthcheck",
    epilog=f"""\b
Examples:
  ordermq healthcheck
  ordermq healthcheck --ready --timeout 5
  ORDERMQ_OBSERVE_HTTP_PORT=9101 ordermq healthcheck

{EXIT_CODES}""",
)
@click.option(
    "--ready", is_flag=True, help="Ask whether it can work now (/readyz), not only whether it lives."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 60),
    default=3.0,
    show_default=True,
    help="Longest wait for the answer, in seconds.",
)
@common
def command(*, ready: bool, timeout_s: float, config_path: str | None) -> None:
    """Ask a relay or consumer whether it lives; exit 0 if so, else 1 with the reasons.

    Made for the health check of a container, so it starts no program and opens no connection but
    this one. It asks observe.http_host and observe.http_port of the same settings and variables
    that the process has; the port must be a fixed one.
    """
    observe = load_settings(config_path)[0].settings.observe
    if observe.http_port <= 0:
        raise ConfigError(
            f"observe.http_port = {observe.http_port}: the process listens on no fixed port;"
            " set one, for example ORDERMQ_OBSERVE_HTTP_PORT=9090, for the process and for this command"
        )
    host = _ANYWHERE.get(observe.http_host, observe.http_host)
    try:
        status, reasons = _ask(host, observe.http_port, "/readyz" if ready else "/healthz", timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        write(f"{host}:{observe.http_port} does not answer: {exc or type(exc).__name__}")
        raise click.exceptions.Exit(1) from exc
    write("; ".join(reasons) or ("ready" if ready else "live"))
    if status != http.client.OK:
        raise click.exceptions.Exit(1)


def _ask(host: str, port: int, path: str, timeout_s: float) -> tuple[int, list[str]]:
    """Return the status and the reasons of the process's answer. Raises ValueError for another's."""
    with closing(http.client.HTTPConnection(host, port, timeout=timeout_s)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    try:
        return answer.status, [str(each) for each in body["reasons"]]
    except (KeyError, TypeError) as exc:
        raise ValueError("not as a process of ordermq does; which program listens there?") from exc
