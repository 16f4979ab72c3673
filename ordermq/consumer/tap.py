"""Messages settled lately, kept only while somebody runs ``ordermq tail``. Thread-safe."""

import threading
from collections import deque
from collections.abc import Iterable

from ordermq.clock import utc_now
from ordermq.consumer.received import Received
from ordermq.store.tail import Settled

MOST = 2000  # for each look of the control, once a second; the oldest are dropped


class Tap:
    """Workers note what they settled; the control takes it. ``is_open`` while somebody looks."""

    def __init__(self) -> None:
        self.is_open = False
        self._noted: deque[Settled] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def note(self, queue: str, messages: Iterable[Received], outcome: str, reason: str = "") -> None:
        """Note messages that were settled; after their commit. Costs nothing while nobody looks."""
        if not self.is_open:
            return
        at = utc_now()
        noted = [
            Settled(
                at, queue, each.envelope.type, each.envelope.correlation_id, each.message_id,
                each.envelope.attempt, each.envelope.hop, outcome, reason, "",
            )
            for each in messages
        ]  # fmt: skip
        with self._lock:
            self._noted.extend(noted)

    def take(self, process: str) -> list[Settled]:
        """Return what was noted, as that of ``process``, and forget it."""
        with self._lock:
            noted = list(self._noted)
            self._noted.clear()
        return [each._replace(process=process) for each in noted]
