"""What ``ordermq doctor`` says of the keys that sign messages."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ordermq.cli.doctor.finding import Finding, judged, ok
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.config.signing_keys import MessageKey, SigningKeys
from ordermq.errors import ConfigError

MESSAGES = "messages"


def check_signing(program: Program) -> Iterator[Finding]:
    """Yield how messages are signed; nothing where there is no file of keys."""
    settings = program.settings.message
    if not settings.signing_keys_file:
        return
    try:
        ring = SigningKeys(settings.signing_keys_file).current()
    except ConfigError as exc:
        yield judged(MESSAGES, "signing keys", str(exc), "docs/message-signing.md", fails=True)
        return
    yield ok(MESSAGES, "signing keys", str(ring))
    yield judged(
        MESSAGES, "unsigned messages", f"message.unsigned is {settings.unsigned}",
        "reject them once ordermq_signatures_total of fault unsigned stands still",
        warns=settings.unsigned == "accept",
    )  # fmt: skip
    changed_at = datetime.fromtimestamp(Path(settings.signing_keys_file).stat().st_mtime, UTC)
    needed_s = longest_age_s(program)
    for key in ring.by_id.values():
        if key.until is not None:
            yield _old_key(key, key.until, changed_at, needed_s)


def longest_age_s(program: Program) -> float:
    """Return for how long a message of any queue may be sent again and again."""
    own = (handler.retry.max_age_s for queue in program.registry.queues
           for handler in program.registry.of_queue(queue))  # fmt: skip
    return max(program.settings.retry.max_age_s, *(age_s for age_s in own if age_s is not None), 0.0)


def _old_key(key: MessageKey, until: datetime, changed_at: datetime, needed_s: float) -> Finding:
    """Judge an old key. It was the signing key until the file was changed, at the latest."""
    check = f"key {key.key_id}"
    if until < utc_now():
        return judged(
            MESSAGES, check, f"not accepted since {until:%Y-%m-%d %H:%M} UTC", "delete its line", warns=True
        )
    least = changed_at + timedelta(seconds=needed_s)
    return judged(
        MESSAGES, check, f"accepted until {until:%Y-%m-%d %H:%M} UTC",
        f"a message that it signed may wait until {least:%Y-%m-%d %H:%M} UTC, the longest max_age_s after the"
        " file was changed: give it a later until=",
        warns=until < least,
    )  # fmt: skip
