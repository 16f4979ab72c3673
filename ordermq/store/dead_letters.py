"""The ``dead_letters`` table: messages given up, whole, until an operator decides.

A row is written in the transaction that settles the message. It is open until it is
replayed or discarded, and never opens again. A replay writes the message to the outbox
again, under its own message_id, and only to the queue it died in: other queues have handled
it. If it dies again, it becomes another dead letter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, NamedTuple

from ordermq.errors import BadInput
from ordermq.message.envelope import MAX_HOP, Envelope, next_hop
from ordermq.message.headers import MAX_ID_CHARS, derived_message_id
from ordermq.message.payload import MAX_BODY_BYTES
from ordermq.message.signing import UNSIGNED_REFUSED
from ordermq.store import inbox
from ordermq.store.outgoing import ENVELOPE, OutboxRow
from ordermq.store.transaction import StoreTransaction


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of the table without its body, which may hold personal data."""

    dead_letter_id: int
    queue: str
    message_id: str
    replay_no: int
    type: str
    version: int
    correlation_id: str
    traceparent: str
    occurred_at: datetime
    attempt: int
    hop: int
    first_failed_at: datetime | None
    reason: str
    died_at: datetime
    replayed_at: datetime | None
    replayed_by: str | None
    replay_reason: str | None
    discarded_at: datetime | None
    discarded_by: str | None
    discard_reason: str | None
    fingerprint: str

    @property
    def is_open(self) -> bool:
        """True until the letter is replayed or discarded."""
        return self.replayed_at is None and self.discarded_at is None

    @property
    def is_unverified(self) -> bool:
        """True if a consumer refused its signature: it may be anybody's."""
        return UNSIGNED_REFUSED in self.reason


@dataclass(frozen=True, slots=True)
class LetterHead(Letter):
    """What may be known of a dead letter without a look at its body."""

    body_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetter(Letter):
    """A whole row."""

    body: bytes


_COLUMNS = ", ".join(each.name for each in fields(DeadLetter))
# Who may not read the column body may read this view.
_BODY_BYTES = """(SELECT s.body_bytes FROM ordermq.dead_letter_sizes AS s
                   WHERE s.dead_letter_id = dead_letters.dead_letter_id)"""
_HEAD = ", ".join([*(each.name for each in fields(Letter)), _BODY_BYTES])
_KEPT = [name for name in ENVELOPE if name != "last_error"]  # its text is in the letter's reason

# A letter of another message may have the number that this replay would have: two messages share an id.
_NUMBER = """(SELECT greatest(%(replay_no)s, coalesce(max(replay_no) + 1, 0)) FROM ordermq.dead_letters
               WHERE queue = %(queue)s AND message_id = %(message_id)s)"""

_IS_OPEN = """SELECT 1 FROM ordermq.dead_letters
     WHERE queue = %(queue)s AND message_id = %(message_id)s AND body = %(body)s
       AND replayed_at IS NULL AND discarded_at IS NULL LIMIT 1"""

_KEEP = f"""
    INSERT INTO ordermq.dead_letters (queue, {", ".join(_KEPT)}, body, reason)
    SELECT %(queue)s, {", ".join(_NUMBER if name == "replay_no" else f"%({name})s" for name in _KEPT)},
           %(body)s, %(reason)s
     WHERE NOT EXISTS ({_IS_OPEN})
    ON CONFLICT (queue, message_id, replay_no) DO NOTHING RETURNING dead_letter_id
"""  # the names are constants, the values are bound

_MATCHES = """(%(ids)s::bigint[] IS NULL OR dead_letter_id = ANY(%(ids)s))
       AND (%(queue)s::text IS NULL OR queue = %(queue)s)
       AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
       AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s)
       AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
       AND (%(error)s::text IS NULL OR position(lower(%(error)s) IN lower(reason)) > 0)
       AND (%(causes)s::text[] IS NULL OR fingerprint = ANY(%(causes)s))
       AND (%(older_than_s)s::float8 IS NULL OR died_at < now() - %(older_than_s)s * interval '1 second')
       AND (%(newer_than_s)s::float8 IS NULL OR died_at > now() - %(newer_than_s)s * interval '1 second')
       AND (%(closed)s OR replayed_at IS NULL AND discarded_at IS NULL)"""

# Open letters have an index by the time of death; all letters by their numbers, in the same order.
_NEWEST = f"""
      FROM ordermq.dead_letters WHERE {_MATCHES}
     ORDER BY CASE WHEN %(closed)s THEN NULL ELSE died_at END DESC, dead_letter_id DESC LIMIT %(limit)s
"""
_LIST = f"SELECT {_COLUMNS} {_NEWEST}"
_LIST_HEADS = f"SELECT {_HEAD} {_NEWEST}"

# What a reason and its pattern have in common: each piece of a text without digits, letters of hexadecimal
# numbers and quotes. A pattern with a quoted part, "?", can be of a reason with any text in it.
_COMMON = re.compile(r"""[^0-9a-fA-F'"-]+""")

_HAVING = """
    SELECT DISTINCT fingerprint FROM ordermq.death_causes
     WHERE position('?' IN pattern) > 0
        OR NOT EXISTS (SELECT FROM unnest(%s::text[]) AS piece
                        WHERE position(lower(piece) IN lower(pattern)) = 0)
"""

# A fingerprint is of one queue and type.
_GROUP = f"""
    SELECT g.count, g.first_at, g.last_at, d.queue, d.type, d.fingerprint, d.reason
      FROM (SELECT count(*) AS count, min(died_at) AS first_at, max(died_at) AS last_at, fingerprint,
                   max(dead_letter_id) AS newest
              FROM ordermq.dead_letters WHERE {_MATCHES}
             GROUP BY fingerprint ORDER BY count(*) DESC, fingerprint LIMIT %(limit)s) AS g
      JOIN ordermq.dead_letters AS d ON d.dead_letter_id = g.newest
     ORDER BY g.count DESC, d.fingerprint
"""  # noqa: S608 # as above

_GROUP_OPEN = """
    SELECT c.letters, oldest.died_at, newest.died_at, newest.queue, newest.type, c.fingerprint, newest.reason
      FROM (SELECT fingerprint, sum(open_letters)::bigint AS letters FROM ordermq.death_causes
             WHERE (%(queue)s::text IS NULL OR queue = %(queue)s)
               AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
             GROUP BY fingerprint HAVING sum(open_letters) > 0
             ORDER BY letters DESC, fingerprint LIMIT %(limit)s) AS c
     CROSS JOIN LATERAL (SELECT died_at FROM ordermq.dead_letters AS d
                          WHERE d.fingerprint = c.fingerprint AND replayed_at IS NULL AND discarded_at IS NULL
                          ORDER BY dead_letter_id LIMIT 1) AS oldest
     CROSS JOIN LATERAL (SELECT died_at, d.queue, type, reason FROM ordermq.dead_letters AS d
                          WHERE d.fingerprint = c.fingerprint AND replayed_at IS NULL AND discarded_at IS NULL
                          ORDER BY dead_letter_id DESC LIMIT 1) AS newest
     ORDER BY c.letters DESC, c.fingerprint
"""

_COUNT = f"""
    SELECT count(*), coalesce(max(dead_letter_id), 0) FROM ordermq.dead_letters WHERE {_MATCHES}
"""  # noqa: S608 # as above

_TAKE = f"""
    SELECT {_COLUMNS} FROM ordermq.dead_letters
     WHERE dead_letter_id > %(after)s AND dead_letter_id <= %(last)s AND {_MATCHES}
     ORDER BY dead_letter_id LIMIT %(limit)s FOR UPDATE
"""  # noqa: S608 # as above

_SHOW = f"SELECT {_COLUMNS} FROM ordermq.dead_letters WHERE dead_letter_id = %s"  # noqa: S608 # as above
_SHOW_HEAD = f"SELECT {_HEAD} FROM ordermq.dead_letters WHERE dead_letter_id = %s"  # noqa: S608 # as above

_OPEN_ABOUT = """
    SELECT dead_letter_id, correlation_id, type FROM ordermq.dead_letters
     WHERE correlation_id = ANY(%s) AND replayed_at IS NULL AND discarded_at IS NULL
     ORDER BY dead_letter_id
"""

_MARK_REPLAYED = """
    UPDATE ordermq.dead_letters SET replayed_at = now(), replayed_by = %s, replay_reason = %s
     WHERE dead_letter_id = %s AND replayed_at IS NULL AND discarded_at IS NULL
"""

_MARK_DISCARDED = """
    UPDATE ordermq.dead_letters SET discarded_at = now(), discarded_by = %s, discard_reason = %s
     WHERE dead_letter_id IN (SELECT dead_letter_id FROM ordermq.dead_letters
                               WHERE dead_letter_id = ANY(%s) ORDER BY dead_letter_id FOR UPDATE)
       AND replayed_at IS NULL AND discarded_at IS NULL
    RETURNING dead_letter_id
"""

_FATES = """
    SELECT v.letter, EXISTS (SELECT FROM ordermq.inbox AS i
                              WHERE i.queue = v.queue AND i.message_id = v.message_id AND i.outcome = 'done'),
           (SELECT min(d.dead_letter_id) FROM ordermq.dead_letters AS d
             WHERE d.queue = v.queue AND d.message_id = v.message_id AND d.replay_no > v.replay_no)
      FROM (VALUES %s) AS v (letter, queue, message_id, replay_no)
"""

_COUNT_AGAIN = """
    SELECT count(*) FROM ordermq.dead_letters
     WHERE fingerprint = ANY(%s) AND replay_no > 0 AND died_at >= %s
       AND replayed_at IS NULL AND discarded_at IS NULL
"""

_OPEN = "SELECT coalesce(sum(open_letters), 0) FROM ordermq.death_causes"


class LetterKey(NamedTuple):
    """A dead letter's number, what it is about, and its type."""

    dead_letter_id: int
    correlation_id: str
    type: str


@dataclass(frozen=True, slots=True)
class Group:
    """The dead letters of one fingerprint, which died of the same cause. ``reason`` is that of the newest."""

    count: int
    first_at: datetime
    last_at: datetime
    queue: str
    type: str
    fingerprint: str
    reason: str


class DeathCause(NamedTuple):
    """How many open dead letters died of one cause: ``letters``; ``reason`` is that of the newest."""

    letters: int
    queue: str
    fingerprint: str
    reason: str


@dataclass(frozen=True)
class Filter:
    """Which dead letters; None matches any. ``error`` is a part of the reason, case ignored.

    ``closed`` includes those that were replayed or discarded.
    """

    ids: tuple[int, ...] | None = None
    queue: str | None = None
    correlation_id: str | None = None
    message_id: str | None = None
    fingerprint: str | None = None
    error: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None
    closed: bool = False

    @property
    def is_empty(self) -> bool:
        """True if the filter matches every open letter."""
        return all(value is None for name, value in vars(self).items() if name != "closed")

    @property
    def is_of_causes(self) -> bool:
        """True if all open letters of some causes match, and no other."""
        return self == Filter(queue=self.queue, fingerprint=self.fingerprint)

    def params(self, tx: StoreTransaction, **more: Any) -> dict[str, Any]:
        """Return what ``_MATCHES`` binds. A text is searched in letters of causes that can have it."""
        causes = None
        if self.error is not None and not self.closed:
            causes = [row[0] for row in tx.fetch_all(_HAVING, (_COMMON.findall(self.error),))]
        ids = None if self.ids is None else list(self.ids)
        return {**vars(self), "ids": ids, "causes": causes, **more}


EVERY = Filter()


def keep(tx: StoreTransaction, queue: str, letters: Sequence[tuple[Envelope, bytes, str]]) -> int:
    """Store (envelope, body, reason) of dead messages; return how many letters are new.

    One that is open already stays as it is: the same bytes under the same id.
    """
    return sum(_keep(tx, queue, *each) for each in letters)


def _keep(tx: StoreTransaction, queue: str, envelope: Envelope, body: bytes, reason: str) -> bool:
    values = {name: getattr(envelope, name) for name in _KEPT}
    params = {"queue": queue, **values, "body": body, "reason": reason}
    while not tx.fetch_all(_KEEP, params):
        # It is open already, or another transaction has just taken the number.
        if tx.fetch_all(_IS_OPEN, params):
            return False
    return True


def select(tx: StoreTransaction, matching: Filter = EVERY, *, limit: int = 100) -> list[DeadLetter]:
    """Return dead letters, newest first."""
    return [_letter(row) for row in tx.fetch_all(_LIST, matching.params(tx, limit=limit))]


def heads(tx: StoreTransaction, matching: Filter = EVERY, *, limit: int = 100) -> list[LetterHead]:
    """Return dead letters without their bodies, newest first."""
    return [LetterHead(*row) for row in tx.fetch_all(_LIST_HEADS, matching.params(tx, limit=limit))]


def group(tx: StoreTransaction, matching: Filter = EVERY, *, limit: int = 100) -> list[Group]:
    """Return one group for each cause, the most frequent first."""
    if matching.is_of_causes:
        params = {"queue": matching.queue, "fingerprint": matching.fingerprint, "limit": limit}
        return [Group(*row) for row in tx.fetch_all(_GROUP_OPEN, params)]
    return [Group(*row) for row in tx.fetch_all(_GROUP, matching.params(tx, limit=limit))]


def causes(tx: StoreTransaction, *, limit: int) -> list[DeathCause]:
    """Return the most frequent causes of open dead letters."""
    return [
        DeathCause(each.count, each.queue, each.fingerprint, each.reason) for each in group(tx, limit=limit)
    ]


def count(tx: StoreTransaction, matching: Filter = EVERY) -> tuple[int, int]:
    """Return how many letters match, and the highest of their numbers."""
    row = tx.fetch_one(_COUNT, matching.params(tx))
    return (int(row[0]), int(row[1])) if row else (0, 0)


def count_open(tx: StoreTransaction) -> int:
    """Return how many wait for a decision."""
    row = tx.fetch_one(_OPEN)
    return int(row[0]) if row else 0


def take(tx: StoreTransaction, matching: Filter, *, after: int, last: int, limit: int) -> list[DeadLetter]:
    """Lock and return dead letters numbered above ``after`` up to ``last``, in the order they died.

    If ``last`` is read before a bulk replay, messages that die again meanwhile are not replayed again.
    """
    params = matching.params(tx, after=after, last=last, limit=limit)
    return [_letter(row) for row in tx.fetch_all(_TAKE, params)]


def open_about(tx: StoreTransaction, correlation_ids: Sequence[str]) -> list[LetterKey]:
    """Return every open dead letter with one of these correlation ids, in the order they died."""
    return [LetterKey(*row) for row in tx.fetch_all(_OPEN_ABOUT, (list(correlation_ids),))]


def get(tx: StoreTransaction, dead_letter_id: int) -> DeadLetter | None:
    """Return one dead letter, or None."""
    row = tx.fetch_one(_SHOW, (dead_letter_id,))
    return _letter(row) if row else None


def head(tx: StoreTransaction, dead_letter_id: int) -> LetterHead | None:
    """Return one dead letter without its body, or None."""
    row = tx.fetch_one(_SHOW_HEAD, (dead_letter_id,))
    return LetterHead(*row) if row else None


def replay(
    tx: StoreTransaction,
    letter: DeadLetter,
    *,
    by: str,
    reason: str,
    queue: str | None = None,
    trusts_unsigned: bool = False,
) -> bool:
    """Send a dead letter to its queue again, or to ``queue``; return False if somebody has decided before.

    The message keeps its message_id. Its attempts start at 1 and its replay_no rises, so
    that another death is another dead letter. It leaves with the caller's commit. Raises
    BadInput for a letter that no consumer can ever read: its envelope was broken (such a
    letter is kept with version 0), or its body is over the limit; and for one whose signature
    was refused, unless the caller ``trusts_unsigned`` letters (SIG2).
    """
    _check_trust(letter, trusts_unsigned=trusts_unsigned)
    if letter.version == 0 or len(letter.body) > MAX_BODY_BYTES:
        raise BadInput(
            f"dead letter {letter.dead_letter_id} can never be handled ({letter.reason}); "
            "send its content as a new message with ordermq-publish messages"
        )
    if tx.execute(_MARK_REPLAYED, (by, reason, letter.dead_letter_id)) == 0:
        return False
    queue = queue or letter.queue
    # The inbox may know a later hop than that of a message no handler could read.
    hop = next_hop(max(letter.hop, inbox.last_hop(tx, queue, letter.message_id)))
    if hop == MAX_HOP:
        inbox.reopen(tx, queue, letter.message_id, hop)
    envelope = Envelope(
        message_id=letter.message_id, type=letter.type, version=letter.version,
        correlation_id=letter.correlation_id, traceparent=letter.traceparent, occurred_at=letter.occurred_at,
        attempt=1, hop=hop, replay_no=letter.replay_no + 1,
    )  # fmt: skip
    tx.append([OutboxRow(queue, envelope, letter.body)])
    return True


def replay_edited(
    tx: StoreTransaction,
    letter: DeadLetter,
    body: bytes,
    version: int,
    *,
    correlation_id: str | None,
    by: str,
    reason: str,
    trusts_unsigned: bool = False,
) -> str | None:
    """Send another ``body`` in the place of a dead letter; return the new message's id.

    None if somebody has decided about the letter before. The new id is the old one and the number of
    the letter, so that each names the other; an id that would be too long is that of the old one's bytes.
    Raises BadInput for a letter whose signature was refused, unless the caller ``trusts_unsigned`` ones.
    """
    _check_trust(letter, trusts_unsigned=trusts_unsigned)
    end = f".edited-{letter.dead_letter_id}"
    begin = letter.message_id
    if len(begin) + len(end) > MAX_ID_CHARS:
        begin = derived_message_id(letter.message_id.encode())
    if tx.execute(_MARK_REPLAYED, (by, f"as message {begin}{end}: {reason}", letter.dead_letter_id)) == 0:
        return None
    envelope = Envelope(
        message_id=begin + end, type=letter.type, version=version,
        correlation_id=letter.correlation_id if correlation_id is None else correlation_id,
        traceparent=letter.traceparent, occurred_at=letter.occurred_at,
    )  # fmt: skip
    tx.append([OutboxRow(letter.queue, envelope, body)])
    return begin + end


def _check_trust(letter: DeadLetter, *, trusts_unsigned: bool) -> None:
    if letter.is_unverified and not trusts_unsigned:
        raise BadInput(
            f"dead letter {letter.dead_letter_id} may be anybody's ({letter.reason}); if you know who"
            " sent it, and what it does is wanted, say --trust-unsigned: it is then signed as ordermq's own"
        )


class Fates(NamedTuple):
    """What became of letters that were replayed: those that died again, with how, and those not ended."""

    died: list[tuple[DeadLetter, DeadLetter]]
    waiting: list[DeadLetter]


def fates(tx: StoreTransaction, replayed: Sequence[DeadLetter]) -> Fates:
    """Return what became of letters, which were replayed to the queues where they died."""
    wanted = [(each.dead_letter_id, each.queue, each.message_id, each.replay_no) for each in replayed]
    ended = {number: (is_done, again) for number, is_done, again in tx.fetch_values(_FATES, wanted)}
    found = Fates([], [])
    for letter in replayed:
        is_done, died_as = ended[letter.dead_letter_id]
        again = get(tx, died_as) if died_as is not None else None
        if again is not None:
            found.died.append((letter, again))
        elif not is_done:
            found.waiting.append(letter)
    return found


def count_again(tx: StoreTransaction, fingerprints: Sequence[str], since: datetime) -> int:
    """Return how many replayed messages died again of these causes since then."""
    row = tx.fetch_one(_COUNT_AGAIN, (list(fingerprints), since))
    return int(row[0]) if row else 0


def discard(tx: StoreTransaction, dead_letter_ids: Sequence[int], *, by: str, reason: str) -> set[int]:
    """Close dead letters without a replay; return the numbers of those that were open."""
    if not dead_letter_ids:
        return set()
    return {row[0] for row in tx.fetch_all(_MARK_DISCARDED, (by, reason, list(dead_letter_ids)))}


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    letter = DeadLetter(*row)
    return replace(letter, body=bytes(letter.body))
