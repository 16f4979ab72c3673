"""The program of a command about orders."""

from ordermq.cli.program import Program, load_program
from ordermq.errors import ConfigError
from ordermq.shop.settings import SECTION


def load_shop(path: str | None) -> Program:
    """Like ``load_program``. Raises ConfigError if no module named ``shop`` is loaded."""
    program = load_program(path)
    if SECTION not in program.loaded.extra:
        origin = program.loaded.origins["modules"]
        raise ConfigError(
            f"modules ({origin}) does not name ordermq.shop, and this command is about its orders; add it"
        )
    return program
