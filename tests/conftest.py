"""How Hypothesis searches: afresh each time, replayable from what a failure prints.

In CI it looks at the same examples each time, so that a change is blamed only for what it
did. Elsewhere chance goes on looking; a failure prints a line ``@reproduce_failure(...)``
to put above the test, and is tried first by the next run. ``--hypothesis-profile=unshrunk``
stops at the first failure as it was found.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["ordermq.shop.sandbox.plugin"]

SHRINKS_FOR_S = 300

# One of their tests that began last would have all other processes of a run wait for it.
LONGEST = {
    "test_documented_commands.py", "test_gateway_example.py", "test_interrupted_bulk.py",
    "test_nothing_personal.py", "test_order_instant.py", "test_pipeline_rewind.py",
}  # fmt: skip

# A shell's background jobs ignore SIGINT, and what they start inherits that: here Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadlines: a machine under load is slow, and that is no fault of an example.
settings.register_profile(
    "ordermq",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "unshrunk", settings.get_profile("ordermq"), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
settings.load_profile("ordermq")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the longest, and leave a failure of Hypothesis the time to be made small."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.timeout(SHRINKS_FOR_S + 120))
