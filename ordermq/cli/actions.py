"""``ordermq actions``: changes that people made with commands: who, when, what and why."""

import click

from ordermq.cli.options import as_json, common, limit
from ordermq.cli.output import at_most, seconds, shortened, write_json, write_table
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.store import actions


@click.command(
    "actions",
    epilog=f"""\b
Examples:
  ordermq actions
  ordermq actions --subject 'order A-1001'
  ordermq actions --action dead.discard --json | jq -r .reason | sort | uniq -c

{EXIT_CODES}""",
)
@click.option("--subject", help="Only actions on this subject, such as 'dead_letter 17' or 'order A-1001'.")
@click.option("--action", help="Only this action, such as dead.replay, dead.discard or order.resolve.")
@click.option("--actor", help="Only actions of this person.")
@limit
@as_json
@common
def command(
    *,
    subject: str | None,
    action: str | None,
    actor: str | None,
    limit: int,
    as_json: bool,
    config_path: str | None,
) -> None:
    """List the changes that people made with commands, newest first.

    JSON lines: one object {action_id, acted_at, actor, action, subject, reason} each.
    """
    with load_program(config_path).session("ordermq actions").transaction() as tx:
        found = actions.select(tx, subject=subject, action=action, actor=actor, limit=limit + 1)
    found = at_most(limit, found)
    if as_json:
        for each in found:
            write_json(each._asdict())
        return
    write_table(
        ("at (UTC)", "who", "action", "subject", "reason"),
        [
            (
                seconds(each.acted_at),
                shortened(each.actor, 30),
                each.action,
                shortened(each.subject, 80),
                shortened(each.reason, 60),
            )
            for each in found
        ],
    )
