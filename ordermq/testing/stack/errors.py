"""What can go wrong with the private stack."""

from ordermq.errors import OrderMQError


class StackError(OrderMQError):
    """A server of the private stack did not start, stop or answer; the message names its log."""

    exit_code = 69


class ProgramMissing(StackError):
    """A server program is not installed."""

    @classmethod
    def of(cls, program: str, package: str) -> "ProgramMissing":
        """The error for ``program``, which Debian's ``package`` brings."""
        return cls(f"{program} is not installed; on Debian and Ubuntu: apt-get install {package}")
