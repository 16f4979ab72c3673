"""What tests import: the private stack, the sandbox third parties, and ``wait_until``.

The pytest fixtures are in ``ordermq.testing.plugin`` and come with the package;
nothing needs to be imported to use them.
"""

from ordermq.testing.wait import wait_until

__all__ = ["wait_until"]
