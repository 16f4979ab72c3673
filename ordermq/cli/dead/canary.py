"""``ordermq dead replay --canary``: one first, then ten, then the rest, as long as none dies again."""

from collections.abc import Sequence
from time import sleep

from ordermq.cli.output import note
from ordermq.clock import Deadline, utc_now
from ordermq.errors import CanaryDied, CanaryWaits
from ordermq.store import Session, dead_letters
from ordermq.store.dead_letters import DeadLetter

STAGES = (1, 10)
_LOOK_EVERY_S = 0.3


class Canary:
    """Says how many may be replayed now, and waits to see what became of them.

    ``wait_s`` is for how long it waits for each stage.
    """

    def __init__(self, session: Session, wait_s: float) -> None:
        self._session = session
        self._wait_s = wait_s
        self._stage = 0
        self._began_at = utc_now()
        self._causes: set[str] = set()

    def most(self, limit: int) -> int:
        """Return how many of ``limit`` may be replayed next."""
        return min(limit, STAGES[self._stage]) if self._stage < len(STAGES) else limit

    def watch(self, replayed: Sequence[DeadLetter]) -> None:
        """See what became of letters that were just replayed; of the rest only whether one died again.

        Raises CanaryDied if one died again, CanaryWaits if it is not known in time.
        """
        self._causes.update(each.fingerprint for each in replayed)
        if self._stage >= len(STAGES):
            self._check_rest()
        elif replayed:
            self._wait(replayed)
            self._stage += 1
            note(f"{len(replayed)} handled, {'then the rest' if self._stage == len(STAGES) else 'then ten'}")

    def _wait(self, replayed: Sequence[DeadLetter]) -> None:
        deadline = Deadline(self._wait_s)
        while True:
            with self._session.transaction() as tx:
                fates = dead_letters.fates(tx, replayed)
            for letter, again in fates.died:
                raise CanaryDied(
                    f"message {letter.message_id} died again"
                    f"{' of the same cause' if again.fingerprint == letter.fingerprint else ''}"
                    f" as dead letter {again.dead_letter_id}: {again.reason}; no more were replayed"
                )
            if not fates.waiting:
                return
            if deadline.has_passed:
                raise CanaryWaits(
                    f"of {len(replayed)} messages {len(fates.waiting)} are not handled after"
                    f" {self._wait_s:g} s, so no more were replayed; do relay and consumers run?"
                    " Retries may take longer: --canary-wait"
                )
            sleep(_LOOK_EVERY_S)

    def _check_rest(self) -> None:
        with self._session.transaction() as tx:
            again = dead_letters.count_again(tx, sorted(self._causes), self._began_at)
        if again:
            raise CanaryDied(f"{again} messages died again of the same cause; no more were replayed")
