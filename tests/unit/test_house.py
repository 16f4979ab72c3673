"""The house rules of CONTRIBUTING.md that a program can check, each with the place that breaks it."""

import ast
import inspect
import io
import re
import tokenize
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from vulture import Vulture

import ordermq
from tests.support.called_elsewhere import CALLED_ELSEWHERE

ROOT = Path(__file__).parents[2]
MAX_FUNCTION_LINES = 50

# An invariant: three capitals and a number, four spaces in, at the head of a line of a docstring or comment.
INVARIANT = re.compile(r"^(?:    |#     )([A-Z]{3}\d+)  \S", re.MULTILINE)

# Names that only insiders understand, each with the word that the field uses.
CLASSES = {
    "Bench": "WorkerContext", "Callers": "CallPool", "Crew": "WorkerPool", "Desk": "ExternalWorker",
    "Fate": "PublishOutcome", "Floor": "SharedExclusiveLock", "Link": "BrokerConnection",
    "Patience": "ReconnectDelay", "Retrying": "RetryOptions", "Run": "HandlerRun", "Standing": "Stall",
    "Watch": "RunningHandlers", "Whereabouts": "MessageLocation", "Work": "Received",
}  # fmt: skip
WORDS = {
    "bench": "context", "bury": "dead_letter", "buried": "dead_letter", "condemned": "dead_reason",
    "crew": "pool", "desk": "external", "fate": "outcome", "grave": "dead_letter", "hire": "build",
    "hired": "build", "hurry": "stop_soon", "hurried": "stop_soon", "nobody": "the absent party",
    "nudge": "wake", "patience": "retry delay", "told": "what was reported", "whereabouts": "location",
    "whoever": "the party meant",
}  # fmt: skip


@cache
def modules():
    """Return each module of the package as its path from the root, its text and its syntax tree."""
    paths = sorted((ROOT / "ordermq").rglob("*.py"))
    texts = {path.relative_to(ROOT): path.read_text() for path in paths}
    return [(path, text, ast.parse(text)) for path, text in texts.items()]


def nodes(kind):
    """Yield every node of a kind in the package, with its place."""
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield node, f"{path}:{node.lineno}"


def check_none(faults):
    """Fail with one line for each fault; pytest would shorten a list."""
    assert not faults, "\n" + "\n".join(faults)


def doubles(places):
    """Return a line for each name that stands at more than one place."""
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def invariants():
    """Return the places of each invariant's id."""
    places = defaultdict(list)
    for path, text, _ in modules():
        for match in INVARIANT.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            places[match[1]].append(f"{path}:{line}")
    return places


def names():
    """Yield every name in the package's code and the place of its token; no comment and no string."""
    for path, text, _ in modules():
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.string, f"{path}:{token.start[0]}"


def words_of(name):
    """Return the words of ``snake_case`` or ``CamelCase``, in small letters."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def public_definitions():
    """Yield what somebody may import or call: whether it is documented, its name and its place."""
    for path, _, tree in modules():
        yield bool(ast.get_docstring(tree)), path.stem, f"{path}:1"
        scopes = [(tree, "")]
        while scopes:
            scope, prefix = scopes.pop()
            for node in scope.body:
                if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                    continue
                yield bool(ast.get_docstring(node)), prefix + node.name, f"{path}:{node.lineno}"
                if isinstance(node, ast.ClassDef):
                    scopes.append((node, f"{node.name}."))


def is_definition(value):
    return (
        inspect.isclass(value) or callable(value) or isinstance(value, property | classmethod | staticmethod)
    )


def test_the_name_of_a_public_class_stands_once_in_the_package():
    places = defaultdict(list)
    for node, place in nodes(ast.ClassDef):
        if not node.name.startswith("_"):
            places[node.name].append(place)
    check_none(doubles(places))


def test_the_id_of_an_invariant_stands_once_in_the_package():
    assert invariants()
    check_none(doubles(invariants()))


def test_each_invariant_is_cited_by_a_test():
    cited = set()
    for path in (ROOT / "tests").rglob("*.py"):
        cited.update(re.findall(r"\b[A-Z]{3}\d+\b", path.read_text()))
    check_none([f"{places[0]}: {name}" for name, places in invariants().items() if name not in cited])


def test_no_function_is_longer_than_a_screen():
    lengths = [
        (node.end_lineno - node.lineno + 1, f"{place} {node.name}") for node, place in nodes(ast.FunctionDef)
    ]
    check_none([f"{where}: {lines} lines" for lines, where in lengths if lines > MAX_FUNCTION_LINES])


def test_the_name_of_a_file_of_tests_stands_once():
    """pytest takes two files of one name for one module, and runs only the first."""
    places = defaultdict(list)
    for folder in ("unit", "functional"):
        for path in (ROOT / "tests" / folder).rglob("test_*.py"):
            places[path.name].append(str(path.relative_to(ROOT)))
    check_none(doubles(places))


def test_no_module_gives_a_name_two_values():
    """The later one would win without a word, as where two versions of a block were both kept."""
    found = []
    for path, _, tree in modules():
        names = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        found += [f"{path}: {name}" for name in sorted(set(names)) if names.count(name) > 1]
    check_none(found)


def test_no_client_asks_the_proxies_of_the_environment():
    """urllib.request goes through http_proxy, also to this machine, and follows redirects with a login."""
    folders = ("ordermq", "tests", "benchmarks", "findings", "docs")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    imports = re.compile(r"^\s*(?:import|from) urllib\.request\b|^\s*from urllib import .*\brequest\b", re.M)
    check_none([str(path.relative_to(ROOT)) for path in paths if imports.search(path.read_text())])


def test_nine_in_ten_public_definitions_are_documented():
    definitions = list(public_definitions())
    missing = [f"{place} {name}" for is_documented, name, place in definitions if not is_documented]
    print(*missing, sep="\n")
    assert len(missing) <= len(definitions) // 10


def test_every_name_of_the_public_api_is_documented_and_so_are_its_methods():
    names = {name: getattr(ordermq, name) for name in ordermq.__all__}
    for name, value in list(names.items()):
        for base in inspect.getmro(value) if inspect.isclass(value) else ():
            if base.__module__.startswith("ordermq"):
                names |= {
                    f"{name}.{each}": vars(base)[each] for each in vars(base) if not each.startswith("_")
                }
    check_none([name for name, value in names.items() if is_definition(value) and not inspect.getdoc(value)])


def test_names_are_words_of_the_field():
    found = [
        f"{place}: class {node.name}, say {CLASSES[node.name]}"
        for node, place in nodes(ast.ClassDef)
        if node.name in CLASSES
    ]
    found += [
        f"{place}: {name}, say {WORDS[word]}"
        for name, place in names()
        for word in words_of(name)
        if word in WORDS
    ]
    check_none(found)


@pytest.fixture(scope="module")
def uncalled():
    """What nothing in the package seems to use: the line of each path and name."""
    vulture = Vulture()
    vulture.scavenge([str(ROOT / "ordermq")])
    found = vulture.get_unused_code(min_confidence=60)
    return {(str(Path(item.filename).relative_to(ROOT)), item.name): item.first_lineno for item in found}


def test_no_code_is_dead(uncalled):
    dead = uncalled.keys() - CALLED_ELSEWHERE
    check_none(sorted(f"{path}:{uncalled[path, name]} {name}" for path, name in dead))


def test_the_reviewed_list_of_uncalled_names_holds_no_name_that_is_gone(uncalled):
    check_none(sorted(f"{path} {name}" for path, name in CALLED_ELSEWHERE - uncalled.keys()))
