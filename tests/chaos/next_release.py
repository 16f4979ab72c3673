"""The handlers of the next release, for F30: they also read version 99 of AwardPoints."""

from ordermq.orders import handlers
from ordermq.orders.commands import AwardPoints
from ordermq.task.handler import handlers_in

AwardPoints.VERSION = 99

globals().update({name: getattr(handlers, name) for name in handlers.__all__})
assert handlers_in(globals())
