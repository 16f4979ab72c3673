"""A snapshot as the screen of ``ordermq status``. Pure but for the printing."""

from collections import Counter

from ordermq.cli.limits import rate_words as rate
from ordermq.cli.output import seconds, shortened, write, write_table
from ordermq.cli.status.snapshot import Snapshot

_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))


def ago(age_s: float | None) -> str:
    """Return a time in its largest unit: ``3m``, ``26h`` as ``1d``; empty for None."""
    if age_s is None:
        return ""
    for unit_s, name in _UNITS:
        if age_s >= unit_s:
            return f"{age_s / unit_s:.0f}{name}"
    return "0s"


def draw(snapshot: Snapshot) -> None:
    """Print the snapshot."""
    write(f"{seconds(snapshot.at)} UTC")
    _queues(snapshot)
    _processes(snapshot)
    _rest(snapshot)


def _queues(snapshot: Snapshot) -> None:
    paused = {each.queue for each in snapshot.paused}
    write("")
    write_table(
        ("queue", "ready", "unacked", "consumers", "in/s", "out/s", "last taken", "state"),
        [
            (
                each.queue,
                each.ready,
                each.unacked,
                each.consumers,
                None if each.rate_in is None else round(each.rate_in, 1),
                round(each.rate_out, 1),
                ago(each.delivered_s),
                _state(snapshot, each.queue, paused),
            )
            for each in snapshot.queues
        ],
    )


def _state(snapshot: Snapshot, name: str, paused: set[str]) -> str:
    queue = next(each for each in snapshot.queues if each.queue == name)
    if queue.is_missing:
        return "MISSING: ordermq topology apply"
    if name in paused:
        return "paused"
    if queue.ready and not queue.consumers:
        return "NO CONSUMER"
    if queue.idle_s is not None and queue.idle_s > 60.0:
        return f"TAKES NOTHING for {ago(queue.idle_s)}"
    return ""


def _processes(snapshot: Snapshot) -> None:
    write("")
    write_table(
        ("process", "version", "up", "state", "since", "why"),
        [
            (
                f"{each.role} {each.queue}".strip() + f" {each.host}:{each.pid}",
                each.version,
                ago(each.started_s),
                f"NOT SEEN for {ago(each.seen_s)}" if each.is_lost else each.state,
                ago(each.since_s),
                shortened(each.reason, 60),
            )
            for each in snapshot.processes
        ],
    )
    if not any(
        each.role == "relay" and each.state == "active" and not each.is_lost for each in snapshot.processes
    ):
        write("NO ACTIVE RELAY: rows wait in the outbox")


def _rest(snapshot: Snapshot) -> None:
    due, oldest_s, later, refused = snapshot.outbox
    write("")
    write(f"outbox     {due} due, the oldest {ago(oldest_s)} late; {later} for later; {refused} refused")
    for pause in snapshot.paused:
        since = f"{seconds(pause.paused_at)} by {pause.paused_by}"
        write(f"paused     {pause.queue} since {since}: {pause.pause_reason}")
    for limit in snapshot.limits:
        state = "used up" if limit.is_used_up else "free"
        write(f"limit      {limit.dependency} {rate(limit.rate)}: {state}, {limit.postponed} put off")
    for (queue, why), count in sorted(_breakers(snapshot).items()):
        write(f"breaker    {queue}: open in {count} processes until {why}")
    for cause in snapshot.dead:
        why = shortened(cause.reason, 60)
        write(f"dead       {cause.letters} of {cause.queue}, {cause.fingerprint}: {why}")
    for feed in snapshot.feeds:
        behind = f"{feed.behind} positions and {ago(feed.behind_s)} behind; {feed.refused} refused"
        by = f"by {feed.last_holder or 'nobody'}{', which has it' if feed.holder else ''}"
        write(f"feed       {feed.feed} at {feed.next_position}, moved {ago(feed.moved_s)} ago {by}: {behind}")
    for module, line in snapshot.modules:
        write(f"{module:10} {line.name}: {line.text}")
    for text in snapshot.alarms:
        write(f"ALARM      {text}")
    for note in snapshot.notes:
        write(f"not known  {note}")


def _breakers(snapshot: Snapshot) -> Counter[tuple[str, str]]:
    """Return in how many processes of a queue a breaker is open, by what closes it."""
    return Counter(
        (each.queue, why)
        for each in snapshot.processes
        for why in each.reason.split(" and ")
        if why.endswith("gateway answers") and not each.is_lost
    )
