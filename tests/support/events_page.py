"""The programs of docs/events.md, as they stand there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def write_example(folder: Path, name: str) -> None:
    """Write the program of the page that is called ``name`` into ``folder``."""
    [code] = re.findall(rf"```python\n(# {name}\n.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / name).write_text(code)
