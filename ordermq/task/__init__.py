"""The contract between the framework and a handler. Pure."""

from ordermq.task.delivery import DeliveryInfo
from ordermq.task.external import Claim, ExternalHandler, Finished, external
from ordermq.task.handler import Handler, HandlerFunction
from ordermq.task.outcome import DONE, Dead, Done, Outcome, Postpone, Retry
from ordermq.task.plain import handler
from ordermq.task.registry import Registry
from ordermq.task.retry import CallFailure, RetryOptions, RetryPolicy
from ordermq.task.transaction import Transaction

__all__ = [
    "DONE",
    "CallFailure",
    "Claim",
    "Dead",
    "DeliveryInfo",
    "Done",
    "ExternalHandler",
    "Finished",
    "Handler",
    "HandlerFunction",
    "Outcome",
    "Postpone",
    "Registry",
    "Retry",
    "RetryOptions",
    "RetryPolicy",
    "Transaction",
    "external",
    "handler",
]
