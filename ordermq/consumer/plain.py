"""Plain handlers: each chunk is handled on the thread that took it, in its transactions."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from ordermq.consumer.received import Readable
from ordermq.consumer.starts import Suspect
from ordermq.consumer.worker import HandlingWorker


class PlainWorker(HandlingWorker):
    """One of several threads that run a queue's plain handlers."""

    def _work(self) -> None:
        intake = self._context.intake
        while not intake.is_closed:
            with self._waiting():
                deliveries = intake.take(self._batch)
            if deliveries:
                self._handle(deliveries)

    def _run(self, batch: Sequence[Readable]) -> list[Suspect]:
        self._run_plain(batch)
        return []

    def _together(self) -> AbstractContextManager[None]:
        return self._context.lock.together()

    def _alone(self) -> AbstractContextManager[None]:
        return self._context.lock.alone()
