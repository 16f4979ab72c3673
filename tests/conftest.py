"""How Hypothesis searches: afresh each time, replayable from what a failure prints.

In CI it looks at the same examples each time, so that a change is blamed only for what it
did. Elsewhere chance goes on looking; a failure prints a line ``@reproduce_failure(...)``
to put above the test, and is tried first by the next run.
"""

import os

from hypothesis import HealthCheck, settings

# No deadlines: a machine under load is slow, and that is no fault of an example.
settings.register_profile(
    "ordermq",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ordermq")
