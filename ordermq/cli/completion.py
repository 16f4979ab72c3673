"""``ordermq completion``: a completion script for the shell, printed on stdout."""

import click
from click.shell_completion import get_completion_class

from ordermq.cli.output import write
from ordermq.cli.run import EXIT_CODES

PROGRAMS = ("ordermq", "ordermq-consumer", "ordermq-publish", "ordermq-relay")


@click.command(
    "completion",
    epilog=f"""\b
Examples:
  ordermq completion bash > ~/.local/share/bash-completion/completions/ordermq
  eval "$(ordermq completion zsh)"
  ordermq completion fish > ~/.config/fish/completions/ordermq.fish

{EXIT_CODES}""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL for all programs of ordermq."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 # the choices are click's own
    for program in PROGRAMS:
        variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
        write(kind(context.find_root().command, {}, program, variable).source())
