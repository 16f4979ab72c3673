"""``ordermq new``: a project with one handler, from the files in ``templates``.

The templates are a project that is named giftshop; its name is replaced in texts and paths.
"""

import sys
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from re import ASCII, fullmatch

import click

from ordermq.cli.options import dry_run
from ordermq.cli.output import write
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import UsageError

TEMPLATE = "giftshop"

# Their modules or migrations would be mistaken for those of ordermq, its shop or the project's tests.
_TAKEN = {"ordermq", "shop", "tests"}

_NEXT = """
Next:
  cd {name}
  pip install --editable '.[dev]'
  pytest
"""


@click.command(
    "new",
    epilog=f"""\b
Examples:
  ordermq new giftshop --dry-run
  ordermq new giftshop

{EXIT_CODES}""",
)
@click.argument("name")
@dry_run
def command(name: str, dry_run: bool) -> None:
    """Write a project into the new folder NAME: a handler, its table, its test, settings.

    NAME is also the name of the project's Python package. A folder that is not empty is
    left as it is.
    """
    _check(name)
    folder = Path(name)
    files = dict(project(name))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; choose another name or remove it")
    for path, text in files.items():
        if not dry_run:
            _write(folder / path, text)
        write(f"{'would write' if dry_run else 'wrote'} {folder / path}")
    if not dry_run:
        write(_NEXT.format(name=name).rstrip())


def project(name: str) -> Iterator[tuple[Path, str]]:
    """Return the files of a project of this name: path inside its folder, and text."""
    for path, file in _files(resources.files("ordermq.cli") / "templates"):
        hidden = path.with_name(".gitignore") if path.name == "gitignore" else path
        yield Path(str(hidden).replace(TEMPLATE, name)), file.read_text("utf-8").replace(TEMPLATE, name)


def _files(folder: Traversable, below: Path = Path()) -> Iterator[tuple[Path, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.name == "__pycache__":
            continue
        if each.is_dir():
            yield from _files(each, below / each.name)
        else:
            yield below / each.name, each


def _check(name: str) -> None:
    if not fullmatch(r"[a-z][a-z0-9_]{0,30}", name, ASCII) or iskeyword(name):
        raise UsageError(
            f"{name!r} is not a name for a Python package;"
            " use at most 31 small letters, digits and _, and begin with a letter"
        )
    if name in _TAKEN or name in sys.stdlib_module_names:
        raise UsageError(f"{name!r} is the name of another Python package; choose a name of your own")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror}") from exc
