"""``ordermq new``: what it writes, and what it refuses."""

import ast
import tomllib

import pytest

from ordermq.cli.app import app
from ordermq.cli.new import project
from ordermq.cli.run import USAGE, run


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    """Run ``ordermq new`` in an empty folder; return its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(app, "ordermq", ["new", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_project_bears_its_name_everywhere(new, tmp_path):
    code, said = new("toyshop")

    assert code == 0
    assert "wrote toyshop/toyshop/gifts.py" in said
    assert files_below(tmp_path / "toyshop") == {
        ".gitignore", "Makefile", "README.md", "deploy/toyshop.conf", "ordermq.toml", "pyproject.toml",
        "tests/test_gifts.py", "toyshop/__init__.py", "toyshop/gifts.py",
        "toyshop/migrations/0001_gifts.sql", "toyshop/migrations/__init__.py",
    }  # fmt: skip
    texts = [path.read_text() for path in (tmp_path / "toyshop").rglob("*") if path.is_file()]
    assert not [text for text in texts if "giftshop" in text]


def test_what_it_writes_can_be_parsed():
    for path, text in project("toyshop"):
        if path.suffix == ".py":
            ast.parse(text)
        if path.suffix == ".toml":
            assert "toyshop" in str(tomllib.loads(text))


def test_a_dry_run_lists_the_files_and_writes_none(new, tmp_path):
    code, said = new("toyshop", "--dry-run")

    assert code == 0
    assert "would write toyshop/Makefile" in said
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["2shop", "gift-shop", "Gift", "a/b", "..", "", "class", "größe", "shop\n", "a" * 32]
)
def test_a_name_that_is_no_package_is_refused(new, tmp_path, name):
    code, said = new("--", name)

    assert code == USAGE
    assert "is not a name for a Python package" in said
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ordermq", "shop", "tests", "email"])
def test_the_name_of_another_package_is_refused(new, name):
    code, said = new(name)

    assert code == USAGE
    assert "is the name of another Python package" in said


def test_a_folder_that_is_not_empty_is_left_as_it_is(new, tmp_path):
    (tmp_path / "toyshop").mkdir()
    (tmp_path / "toyshop" / "notes").write_text("mine")

    code, said = new("toyshop")

    assert code == USAGE
    assert "is not an empty folder" in said
    assert files_below(tmp_path) == {"toyshop/notes"}


def test_a_file_in_the_place_of_the_folder_is_left_as_it_is(new, tmp_path):
    (tmp_path / "toyshop").write_text("mine")

    assert new("toyshop")[0] == USAGE
    assert (tmp_path / "toyshop").read_text() == "mine"


def test_an_empty_folder_is_filled(new, tmp_path):
    (tmp_path / "toyshop").mkdir()

    assert new("toyshop")[0] == 0
    assert (tmp_path / "toyshop" / "Makefile").exists()
