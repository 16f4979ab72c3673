"""docs/api.md is what the docstrings say; every public name and method has one."""

import runpy
from pathlib import Path

import ordermq

ROOT = Path(__file__).parents[2]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate_api.py"))


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "api.md").read_text() == GENERATOR["api"](), "make docs writes it anew"


def test_every_public_name_stands_under_a_heading():
    names = [name for names in GENERATOR["headings"]().values() for name in names]
    assert names == ordermq.__all__
