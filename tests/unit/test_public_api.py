"""``from ordermq import ...``: what a user gets, and what it costs to have it."""

import inspect
import json
import subprocess
import sys

import pytest

import ordermq

LIBRARIES = ("pika", "psycopg2", "msgspec", "click", "prometheus_client")


def run(code):
    """Return what ``code`` prints as JSON, in a process of its own."""
    return json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))


def test_importing_the_package_loads_no_library():
    loaded = run("import json, sys, ordermq; ordermq.__version__; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in loaded if name.partition(".")[0] in LIBRARIES] == []
    assert [name for name in loaded if name.startswith("ordermq.")] == []


@pytest.mark.parametrize("name", ["Outcome", "Module", "OrderMQError"])
def test_a_name_of_a_handler_loads_no_driver(name):
    loaded = run(f"import json, sys, ordermq; ordermq.{name}; print(json.dumps(sorted(sys.modules)))")
    assert not {"pika", "psycopg2"} & set(loaded)


@pytest.mark.parametrize("name", ordermq.__all__)
def test_each_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(ordermq, name))
    assert name in dir(ordermq)


def test_no_name_stands_twice_or_nowhere():
    assert len(set(ordermq.__all__)) == len(ordermq.__all__)
    assert set(ordermq._MODULE_OF) == set(ordermq.__all__)


def test_another_name_is_an_attribute_error_as_of_any_module():
    with pytest.raises(AttributeError, match="has no attribute 'order'"):
        _ = ordermq.order
