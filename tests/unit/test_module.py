"""A module: what it brings, when it is imported, and what somebody reads whose module is wrong."""

import sys
import types

import pytest

from ordermq.cli.program import registry_of
from ordermq.errors import ConfigError
from ordermq.message.payload import Payload
from ordermq.module import Module, load_modules
from ordermq.task import DONE, handler


class Wrap(Payload):
    order_id: str


class Send(Payload):
    order_id: str


@handler(queue="gifts", message=Wrap)
def wrap(message, tx):
    return DONE


@handler(queue="gifts", message=Send)
def send(message, tx):
    return DONE


@pytest.fixture
def python_module(monkeypatch):
    """Make an importable Python module with these attributes."""

    def make(name, **attributes):
        made = types.ModuleType(name)
        vars(made).update(attributes)
        monkeypatch.setitem(sys.modules, name, made)
        return name

    return make


def test_modules_are_loaded_by_the_names_of_the_python_modules_that_hold_them(python_module):
    gifts, cards = Module("gifts"), Module("cards")
    names = [python_module("project_gifts", module=gifts), python_module("project_cards", module=cards)]

    assert load_modules([*names, names[0]]) == (gifts, cards)


@pytest.mark.parametrize(
    "offer", ["project_gifts", "project_gifts:wrap", wrap], ids=["of a Python module", "by name", "itself"]
)
def test_a_handler_is_named_or_given_or_all_of_a_python_module_are(python_module, offer):
    python_module("project_gifts", wrap=wrap)

    registry = registry_of([Module("gifts", handlers=[offer, send])])

    assert {each.type for each in registry.of_queue("gifts")} == {"Wrap", "Send"}


def test_what_follows_from_unreadable_messages_comes_from_each_module_that_says_so(python_module):
    python_module("project_gifts", ask=print)

    modules = [
        Module("gifts", on_unreadable="project_gifts:ask"),
        Module("cards"),
        Module("m", on_unreadable=repr),
    ]

    assert registry_of(modules).on_unreadable == (print, repr)


def test_nothing_is_imported_before_it_is_needed():
    module = Module("gifts", handlers=["no_such.handlers"], gauges="no_such.gauges:read")

    with pytest.raises(
        ConfigError, match=r"module 'gifts': gauges names 'no_such.gauges:read'.* No module named"
    ):
        module.load("gauges")
    with pytest.raises(ConfigError, match=r"module 'gifts': handlers names 'no_such.handlers'"):
        registry_of([module])


def test_two_modules_of_one_name_are_refused_and_both_are_named(python_module):
    names = [python_module(name, module=Module("gifts")) for name in ("project_a", "project_b")]

    with pytest.raises(ConfigError) as caught:
        load_modules(names, "ordermq.toml:1")
    assert str(caught.value) == (
        "modules (ordermq.toml:1): 'project_a' and 'project_b' are both named 'gifts';"
        " give one of them another name"
    )


def test_a_python_module_that_is_missing_is_named_with_what_to_do():
    with pytest.raises(
        ConfigError, match=r"modules \(ordermq.toml:1\): cannot import 'no_such_gifts': .* PYTHONPATH"
    ):
        load_modules(["no_such_gifts"], "ordermq.toml:1")


def test_a_python_module_that_is_not_python_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_shop.py").write_text("def handle(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="cannot import 'broken_shop'"):
        load_modules(["broken_shop"])


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        (
            "import json\n\nlimit = undefined\n",
            r"NameError: name 'undefined' is not defined \(.*broken_shop.py:3\)",
        ),
        ("import no_such_library\n", "No module named 'no_such_library'$"),
        ("from json import no_such_name\n", r"cannot import name 'no_such_name' .*broken_shop.py:1\)"),
        (
            "from ordermq import *\n\n@handler(queue='gifts', message=dict)\ndef wrap(message, tx): ...\n",
            r"message=<class 'dict'> is not a class of messages; .* \(.*broken_shop.py:3\)",
        ),
        (
            "from ordermq import Module\n\nmodule = Module('m', sttings=1)\n",
            r"TypeError: .*'sttings' \(.*:3\)",
        ),
    ],
    ids=["its own code", "a library", "a name", "a handler", "its Module"],
)
def test_whatever_fails_while_a_python_module_is_imported_is_told_with_its_line(
    tmp_path, monkeypatch, text, failed
):
    (tmp_path / "broken_shop.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"modules \(f:1\): cannot import 'broken_shop': {failed}"
    ) as caught:
        load_modules(["broken_shop"], "f:1")
    assert "PYTHONPATH" not in str(caught.value)
    with pytest.raises(ConfigError, match=f"'broken_shop', which cannot be imported: {failed}"):
        Module("m", settings="broken_shop").load("settings")


def test_a_python_module_without_a_module_is_told_the_line_to_write(python_module):
    python_module("project_gifts", module="gifts")

    with pytest.raises(
        ConfigError, match=r"'project_gifts' holds no Module; .* module = Module\(\"project_gifts\""
    ):
        load_modules(["project_gifts"])


def test_a_handler_that_is_none_is_named_with_its_module():
    with pytest.raises(ConfigError, match="module 'gifts': there is no handler in 'json'; decorate one"):
        registry_of([Module("gifts", handlers=["json"])])


def test_handlers_of_two_modules_for_one_message_are_refused(python_module):
    with pytest.raises(ConfigError, match="two handlers for Wrap"):
        registry_of([Module("gifts", handlers=[wrap]), Module("cards", handlers=[wrap])])


@pytest.mark.parametrize("name", ["", "Gifts", "my-shop", "a.b", "ordermq", "9lives"])
def test_a_name_that_no_section_or_schema_could_have_is_refused(name):
    with pytest.raises(ConfigError, match="small letters, digits and underscores"):
        Module(name)


@pytest.mark.parametrize("given", ["myshop.handlers", wrap], ids=["a text", "a handler"])
def test_what_is_no_list_in_the_place_of_one_is_refused(given):
    with pytest.raises(ConfigError, match=r"handlers is a list; write handlers=\[\.\.\.\]"):
        Module("gifts", handlers=given)
