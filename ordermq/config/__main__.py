"""Write docs/configuration.md and config/ordermq.toml anew, below the present folder.

    python -m ordermq.config [section=module:Class ...]

The arguments are the sections a program adds to the framework's.
"""

import sys
from pathlib import Path
from pkgutil import resolve_name

from ordermq.config.reference import example, reference

if __name__ == "__main__":
    extra = {name: resolve_name(where) for name, _, where in (each.partition("=") for each in sys.argv[1:])}
    Path("docs/configuration.md").write_text(reference(extra))
    Path("config/ordermq.toml").write_text(example(extra))
