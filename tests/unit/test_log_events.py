"""Each log line of the package has a stable name, and the page of documentation lists them."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import ordermq.log_events
import ordermq.shop.log_events
from ordermq.log_events import REGISTRY, LogEvent

ROOT = Path(__file__).parents[2]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate_log_events.py"))
METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
EVENTS = {
    name: value
    for module in (ordermq.log_events, ordermq.shop.log_events)
    for name, value in vars(module).items()
    if isinstance(value, LogEvent)
}


def log_calls():
    """Yield each log call of the package, with its place. What run_handler logs is for tests."""
    for path in sorted((ROOT / "ordermq").rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[1] == "testing":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and ast.unparse(node.func.value) in ("log", "_log")
            ):
                yield node, f"{place}:{node.lineno}"


def test_each_log_call_names_its_event():
    unnamed = [place for call, place in log_calls() if not any(each.arg == "extra" for each in call.keywords)]
    assert not unnamed, unnamed


def test_each_event_is_logged_somewhere():
    text = "".join(
        path.read_text() for path in (ROOT / "ordermq").rglob("*.py") if path.name != "log_events.py"
    )
    assert [name for name in EVENTS if not re.search(rf"\b{name}\b", text)] == []


def test_names_are_unique_words_with_hyphens_and_fit_their_field():
    assert len(REGISTRY) == len(EVENTS)
    assert [name for name in REGISTRY if not re.fullmatch(r"[a-z]+(-[a-z]+){1,4}", name)] == []
    with pytest.raises(ValueError, match="exists twice"):
        LogEvent("message-dead", "ERROR", "x", "y")


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "log-events.md").read_text() == GENERATOR["log_events"](), (
        "make docs writes it anew"
    )


def test_the_picture_of_a_trace_is_up_to_date():
    picture = runpy.run_path(str(ROOT / "docs" / "draw_trace.py"))["picture"]()
    assert (ROOT / "docs/img/trace.svg").read_text() == picture, "make docs draws it anew"
