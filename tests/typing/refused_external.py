"""What mypy --strict finds in external handlers; each line says with which words."""

from collections.abc import Sequence

from ordermq import DONE, Claim, ExternalHandler, Finished, Outcome, Transaction, external, run_handler
from ordermq.store import Session
from tests.typing.accepted_external import Wrap
from tests.typing.gifts import ShipGift, WrapGift


# E: expected "type[ExternalHandler[ShipGift, Any, Any]]"
@external(queue="wrapping", message=ShipGift)
class OtherPayload(ExternalHandler[WrapGift, str, int]):
    def prepare(self, claims: Sequence[Claim[WrapGift]], tx: Transaction) -> list[str]:
        return [each.message.order_id for each in claims]

    def call(self, request: str) -> int:
        return len(request)

    def complete(self, finished: Sequence[Finished[WrapGift, int]], tx: Transaction) -> list[Outcome]:
        # E: Generator has incompatible item type
        total = sum(each.result for each in finished)
        return [DONE] * total


class WrongArguments(ExternalHandler[WrapGift, str, int]):
    # E: Argument 1 of "prepare" is incompatible with supertype
    def prepare(self, claims: Sequence[Claim[ShipGift]], tx: Transaction) -> list[str]:
        return []

    # E: Argument 1 of "call" is incompatible with supertype
    def call(self, request: int) -> int:
        return request

    # E: Signature of "complete" incompatible with supertype
    def complete(self, finished: Sequence[Finished[WrapGift, int]]) -> list[Outcome]:
        return []


class WrongAnswers(ExternalHandler[WrapGift, str, int]):
    # E: incompatible with return type "Sequence[str
    def prepare(self, claims: Sequence[Claim[WrapGift]], tx: Transaction) -> list[int]:
        return []

    # E: incompatible with return type "int"
    def call(self, request: str) -> str:
        return request

    # E: incompatible with return type "Sequence[Done
    def complete(self, finished: Sequence[Finished[WrapGift, int]], tx: Transaction) -> Outcome:
        return DONE


# E: expected "type[ExternalHandler[WrapGift, Any, Any]]"
@external(queue="wrapping", message=WrapGift)
class NoBase:
    def call(self, request: str) -> int:
        return len(request)


def use(session: Session) -> None:
    # E: expected "WrapGift"
    Wrap.command(ShipGift(order_id="A-1"))
    # E: incompatible type
    run_handler(Wrap, WrapGift(order_id="A-1"), session=session)
    # E: Cannot infer value of type parameter "P"
    run_handler(Wrap("x"), ShipGift(order_id="A-1"), session=session)
