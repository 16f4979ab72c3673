"""The contract between the framework and a handler. Pure."""

from ordermq.task.handler import Claim, Finished, Handler, external, handler
from ordermq.task.outcome import DONE, Dead, Done, Outcome, Postpone, Retry
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryOptions, RetryPolicy

__all__ = [
    "DONE",
    "Claim",
    "Dead",
    "Done",
    "Finished",
    "Handler",
    "Outcome",
    "Postpone",
    "Registry",
    "Retry",
    "RetryOptions",
    "RetryPolicy",
    "external",
    "handler",
]
