"""``ordermq limits``: how many calls a second all consumers together make to a service outside."""

import re
from collections import defaultdict

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import seconds, shortened, write, write_json, write_table
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.store import StoreTransaction, actions, limits
from ordermq.store.limits import Limit

_RATE = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)/([smh])")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate_of(_: object, __: object, value: str | None) -> float | None:
    """Return the calls a second of ``50/s``, ``30/m`` or ``100/h``."""
    if value is None:
        return None
    matched = _RATE.fullmatch(value)
    if matched is None or float(matched[1]) <= 0:
        raise click.BadParameter(f"{value!r} is not a rate; write for example 50/s, 30/m or 100/h")
    return float(matched[1]) / _UNIT_S[matched[2]]


dependency = click.argument("dependency", metavar="SERVICE")


@click.group("limits", epilog=EXIT_CODES)
def command() -> None:
    """Limit the calls to a service outside, while everything runs."""


@command.command(
    "set",
    epilog=f"""\b
Examples:
  ordermq limits set payment 50/s --burst 100 --reason "their contract"
  ordermq limits set payment 50/s --per-key 5/s --reason "one merchant's sale" --dry-run
  ordermq limits set sms 600/h --reason "the provider asked for it"

{EXIT_CODES}""",
)
@dependency
@click.argument("rate", callback=rate_of, metavar="RATE")
@click.option(
    "--burst",
    type=click.FloatRange(1),
    help="Most calls at once after a time of rest. Default: what comes in a second.",
)
@click.option("--per-key", callback=rate_of, metavar="RATE", help="Rate of each key the handler names.")
@click.option(
    "--key-burst",
    type=click.FloatRange(1),
    help="Most calls of one key at once. Default: what comes in a second.",
)
@reason
@dry_run
@as_json
@common
def set_(
    *, dependency: str, rate: float, burst: float | None, per_key: float | None, key_burst: float | None,
    reason: str, dry_run: bool, as_json: bool, config_path: str | None,
) -> None:  # fmt: skip
    """Let all consumers together call SERVICE at most at RATE, within 2 seconds.

    RATE is 50/s, 30/m or 100/h. It takes the place of the limit before. Messages over it wait
    in their queue; those over their key's share are sent again at a later time. Neither
    counts as an attempt or as part of their age. SERVICE is the dependency of an external
    handler, by default its queue.

    JSON: {dependency, rate, burst, key_rate, key_burst, outcome}.
    """
    program, by = load_program(config_path), actor()
    _check_service(program, dependency, needs_key=per_key is not None)
    if key_burst is not None and per_key is None:
        raise click.UsageError("--key-burst needs --per-key")
    limit = Limit(
        dependency, rate, burst or max(1.0, rate), per_key, per_key and (key_burst or max(1.0, per_key))
    )

    def work(tx: StoreTransaction) -> None:
        limits.set_limit(tx, limit, by=by, reason=reason)
        actions.record(tx, by, "limits.set", [f"service {dependency}"], f"{_words(limit)}: {reason}")

    commit(program.session("ordermq limits"), work, dry_run=dry_run)
    outcome = "would be set" if dry_run else "set"
    if as_json:
        write_json({**vars(limit), "outcome": outcome})
    else:
        write(f"{outcome}: {dependency} {_words(limit)}")


@command.command(
    epilog=f"""\b
Examples:
  ordermq limits remove payment --reason "the sale is over" --dry-run
  ordermq limits remove payment --reason "the sale is over"

{EXIT_CODES}"""
)
@dependency
@reason
@dry_run
@as_json
@common
def remove(*, dependency: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Let consumers call SERVICE without a limit again, within 2 seconds.

    Messages that were put off to a later time stay so. A service without a limit stays as it is.

    JSON: {dependency, outcome}.
    """
    program, by = load_program(config_path), actor()

    def work(tx: StoreTransaction) -> bool:
        is_removed = limits.remove_limit(tx, dependency)
        if is_removed:
            actions.record(tx, by, "limits.remove", [f"service {dependency}"], reason)
        return is_removed

    is_removed = commit(program.session("ordermq limits"), work, dry_run=dry_run)
    outcome = ("would be removed" if dry_run else "removed") if is_removed else "no limit"
    write_json({"dependency": dependency, "outcome": outcome}) if as_json else write(
        f"{outcome}: {dependency}"
    )


@command.command(
    epilog=f"""\b
Examples:
  ordermq limits show
  ordermq limits show --json | jq -r 'select(.is_used_up) | .dependency'

{EXIT_CODES}"""
)
@as_json
@common
def show(*, as_json: bool, config_path: str | None) -> None:
    """List the limits in force, and whether calls wait for them now.

    JSON lines: one object {dependency, rate, burst, key_rate, key_burst, set_at, set_by,
    reason, is_used_up, postponed} each; rates are calls a second, and postponed counts the
    messages that wait in the outbox for their key's share.
    """
    program = load_program(config_path)
    queues = {name: sorted(found) for name, found in _queues(program).items()}
    with program.session("ordermq limits").transaction() as tx:
        found = limits.limits_now(tx, queues)
    if as_json:
        for each in found:
            write_json(each._asdict())
        return
    write_table(
        ("service", "limit", "now", "put off", "set (UTC)", "by", "reason"),
        [
            (
                each.dependency,
                _words(Limit(*each[:5])),
                "used up" if each.is_used_up else "free",
                each.postponed,
                seconds(each.set_at),
                shortened(each.set_by, 30),
                shortened(each.reason, 60),
            )
            for each in found
        ],
    )


def _words(limit: Limit) -> str:
    text = f"{rate_words(limit.rate)}, burst {limit.burst:g}"
    if limit.key_rate is None:
        return text
    return f"{text}; each key {rate_words(limit.key_rate)}, burst {limit.key_burst:g}"


def rate_words(rate: float) -> str:
    """Return calls a second as a person writes them: ``50/s``, ``10/m``."""
    unit = next((each for each in ("s", "m") if rate * _UNIT_S[each] >= 1), "h")
    return f"{rate * _UNIT_S[unit]:g}/{unit}"


def _queues(program: Program) -> dict[str, set[str]]:
    """Return the queues whose handlers call each service."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for queue in program.registry.queues:
        for handler in program.registry.of_queue(queue):
            if handler.is_external:
                found[handler.dependency].add(queue)
    return dict(found)


def _check_service(program: Program, dependency: str, *, needs_key: bool) -> None:
    """Raise click.UsageError if no handler calls the service, or none of them names a key."""
    services = _queues(program)
    if dependency not in services:
        known = ", ".join(sorted(services)) or "none"
        raise click.UsageError(f"no external handler calls {dependency!r}; services: {known}")
    handlers = [each for queue in services[dependency] for each in program.registry.of_queue(queue)]
    if needs_key and not any(each.limit_key for each in handlers if each.dependency == dependency):
        raise click.UsageError(
            f"no handler that calls {dependency!r} has a limit_key; see docs/architecture.md"
        )
