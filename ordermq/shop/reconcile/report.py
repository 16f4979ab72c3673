"""What a reconciliation found. Pure."""

from dataclasses import dataclass

MAX_OFFENDERS = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: how many things break it, and the first of them. ``note`` is for a human."""

    name: str
    wrong: int
    offenders: tuple[str, ...]
    note: str = ""

    @property
    def is_ok(self) -> bool:
        return self.wrong == 0


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """All checks, in the order they were made."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.checks)
