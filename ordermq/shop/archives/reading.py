"""The events of one order out of the file that has them, without restoring it.

Invariants
    ARC6  Events are read from the very file that was archived alone, by its SHA-256.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from ordermq.errors import OrderArchived, UsageError
from ordermq.shop.archives.lines import ArchivedEvent, file_sha256
from ordermq.shop.archives.restoring import archive_of, why_archived
from ordermq.task import Transaction


def events_in_archive(order_id: str, tx: Transaction) -> list[ArchivedEvent] | None:
    """Return the events of an order out of its file, the oldest first; None if they are in no file.

    It reads the whole file. Raises OrderArchived, which says what to do, if that is not where it was written
    or is another one.
    """
    archive = archive_of(order_id, tx)
    if archive is None:
        return None
    try:
        found = file_sha256(Path(archive.file)).hex()
    except UsageError as exc:
        raise OrderArchived(f"{exc}; {why_archived(order_id, tx)}") from exc
    if found != archive.sha256:
        raise OrderArchived(f"{why_archived(order_id, tx)}; but that file is not the one that was archived")
    return list(_events(Path(archive.file), order_id))


def _events(path: Path, order_id: str) -> Iterator[ArchivedEvent]:
    # As the line of an event has it. In a body, which is a string, the quotes are escaped.
    wanted = f'"order_id":{json.dumps(order_id, ensure_ascii=False)}'.encode()
    with gzip.open(path, "rb") as lines:
        for line in lines:
            if wanted in line:
                event = ArchivedEvent(**json.loads(line))
                if event.order_id == order_id:
                    yield event
