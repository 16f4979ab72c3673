"""Write the matrix of docs/alerts.md from the faults of tests/chaos: ``make docs``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "alerts.md"
HEADING = "## The drill\n\n"


def page() -> str:
    """Return docs/alerts.md with the matrix as the faults have it."""
    from tests.chaos.alerts import matrix  # noqa: PLC0415 # the root is on the path only now

    return PAGE.read_text().partition(HEADING)[0] + HEADING + matrix()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page())
