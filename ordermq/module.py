"""A module: the one object by which a project plugs in its handlers, tables, settings and commands.

    # myshop/gifts.py
    module = Module("gifts", handlers=[wrap_gift], migrations="myshop.migrations")

``modules = ["ordermq.shop", "myshop.gifts"]`` in ordermq.toml, or ORDERMQ_MODULES, names the Python
modules that hold such an object, each under the name ``module``. A field that names code takes the
code itself or a dotted string, ``"myshop.gauges:read"``, which is imported when it is needed: a
command that needs no handler imports none.
"""

import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from ordermq.errors import ConfigError

if TYPE_CHECKING:  # the command line reads modules before it needs any driver
    from prometheus_client import Gauge

    from ordermq.message.cloudevents import RecordEvent
    from ordermq.message.envelope import Envelope
    from ordermq.task.forecast import Effect
    from ordermq.task.transaction import Transaction

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

# Files of which a person whose module fails on import need not read: those of an import, and ordermq's own.
_NOT_THEIRS = ("<frozen ", importlib.__file__, pkgutil.__file__, os.path.dirname(__file__) + os.sep)


@dataclass(frozen=True)
class StatusLine:
    """One line of a module in ``ordermq status``: its name, what a person reads, and values for ``--json``.

    ``is_good`` is False if a person should look.
    """

    name: str
    text: str
    is_good: bool = True
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TraceEntry:
    """One line of a module in ``ordermq trace``: when, what kind of thing, what a person reads.

    ``values`` are for ``--json``. Personal data does not belong in any of them.
    """

    at: datetime
    kind: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModuleTrace:
    """What a module knows of a correlation id, for ``ordermq trace``.

    subject          what it is and how it is: "order A-1001: reserved, EUR 25.98"
    messages         ``(queue, message_id)`` of each message that it may ever have sent
    pending          the messages it waits for, and what each will do, by ``(queue, message_id)``
    waits_for        what else it waits for: "a person: the refund was given up"
    action_subjects  under which ``ordermq actions`` lists what people did: "order A-1001"
    if_lost          the command that sends a lost message again
    """

    subject: str
    entries: Sequence[TraceEntry] = ()
    messages: Sequence[tuple[str, str]] = ()
    pending: Mapping[tuple[str, str], str] = field(default_factory=dict)
    waits_for: Sequence[str] = ()
    action_subjects: Sequence[str] = ()
    if_lost: str = ""


@dataclass(frozen=True)
class RecordSource:
    """Records that the audit log holds (docs/audit.md). Personal data does not belong in them.

    name    the name of their table, which a trigger puts into ``ordermq.unnumbered`` with each record
    select  query of all records: ``subject`` and ``number``, which are the key of one together, ``at``,
            its time, and ``content``, the bytes that the log holds of it. They never change
    event   ``f(content)`` returns the ``RecordEvent`` that others may read (docs/events.md); None if these
            records stay inside
    outward query as ``select``, whose ``content`` is what ``event`` gets; empty: what the log holds
    archived  query of the subjects whose records are in a file instead: ``subject``, ``number`` and ``file``
            of the archive, how many ``records`` are in it, and ``leaves``, the SHA-256 of the hashes of
            their leaves one after the other in the order of the log
    """

    name: str
    select: str
    event: "Callable[[bytes], RecordEvent] | str | None" = None
    archived: str = ""
    outward: str = ""

    @property
    def outward_select(self) -> str:
        """The query of what ``event`` gets."""
        return self.outward or self.select

    def load_event(self) -> "Callable[[bytes], RecordEvent] | None":
        """Return ``event``, imported if it is a dotted name. Raises ConfigError if it cannot be."""
        event: Callable[[bytes], RecordEvent] | None = _imported(
            f"records of {self.name!r}", "event", self.event
        )
        return event


@dataclass(frozen=True, eq=False)
class Module:
    """What one part of a system brings along. Raises ConfigError for a name or a list that is none.

    name              also the section of its settings and the scope of its migrations; small
                      letters, digits and underscores
    handlers          decorated functions and classes; a dotted name of a Python module stands for
                      every handler in it
    choose_handlers   ``f(config)`` returns the decorated functions and classes that depend on the
                      settings, in addition to ``handlers``
    settings          dataclass of ``setting()`` fields, its section ``[name]`` in the file
    migrations        package that holds its tables as files ``0001_name.sql``
    gauges            ``read(tx, config)`` returns {gauge: value}, by cheap queries; of a gauge with labels
                      the value is {(label, ...): value}. The active relay calls it every
                      ``observe.tables_every_s``
    on_unreadable     ``f(queue, envelope, reason, tx)`` writes what follows from a dead letter that no
                      handler could read, in its transaction. Everything it is given is untrusted,
                      the correlation_id too
    commands          package of its commands. The package names them in two tables of name and help,
                      either of which may be missing: COMMANDS for ``ordermq NAME``, each a click
                      command named ``command`` in the package's module NAME; PUBLISH_COMMANDS
                      for ``ordermq-publish NAME``, in the package's module publish_NAME
    status            ``f(tx, config)`` returns lines for ``ordermq status``, by cheap queries; see
                      ``StatusLine``
    trace             ``f(tx, config, correlation_id)`` returns what it knows of the id for ``ordermq trace``,
                      None if nothing; see ``ModuleTrace``
    forecast          ``f(tx, config, messages)`` returns the ``Effect`` of each ``PlannedMessage``, None for
                      one that does nothing outside; ``ordermq dead replay`` says first what these come to
    grants            {role: lines} of what each role needs of the module's tables, for ``ordermq db grants``:
                      ``{"consumer-gifts": ["SELECT, INSERT ON shop.gifts"]}``. Roles are those of the
                      framework and its own, ``NAME`` or ``NAME-...``; see ``ordermq.store.grants``
    checks            functions ``f(tx, config, ask_services)`` that return checks for ``ordermq
                      reconcile``; see ``ordermq.store.checks``
    records           each ``RecordSource`` that the audit log holds
    sandbox           class that stands in for the services outside on a development stack
    correlation_name  name of the log field that holds the correlation id
    """

    name: str
    handlers: Sequence[Any] = ()
    choose_handlers: "Callable[[Any], Iterable[Any]] | str | None" = None
    settings: type | str | None = None
    migrations: str | None = None
    gauges: "Callable[[Transaction, Any], Mapping[Gauge, Any]] | str | None" = None
    on_unreadable: "Callable[[str, Envelope, str, Transaction], None] | str | None" = None
    commands: str | None = None
    status: "Callable[[Transaction, Any], Iterable[StatusLine]] | str | None" = None
    trace: "Callable[[Transaction, Any, str], ModuleTrace | None] | str | None" = None
    forecast: "Callable[..., Sequence[Effect | None]] | str | None" = None
    grants: Mapping[str, Sequence[str]] | str | None = None
    checks: Sequence[Any] = ()
    records: Sequence[RecordSource | str] = ()
    sandbox: type | str | None = None
    correlation_name: str = "correlation_id"

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None or self.name == "ordermq":
            raise ConfigError(
                f"Module({self.name!r}): a module's name is small letters, digits and underscores,"
                " at most 31, and not 'ordermq'"
            )
        for name in ("handlers", "checks", "records"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ConfigError(f"Module({self.name!r}): {name} is a list; write {name}=[...]")

    def load(self, field: str) -> Any:
        """Return what ``field`` names, None if nothing. Raises ConfigError if it cannot be imported."""
        return self._import(field, getattr(self, field))

    def load_each(self, field: str) -> list[Any]:
        """Return all that the list ``field`` names. Raises ConfigError like ``load``."""
        return [self._import(field, each) for each in getattr(self, field)]

    def _import(self, field: str, value: Any) -> Any:
        return _imported(f"module {self.name!r}", field, value)


def _imported(owner: str, field: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return pkgutil.resolve_name(value)
    except Exception as exc:  # whatever the module's own code raises while it is imported
        raise ConfigError(
            f"{owner}: {field} names {value!r}, which cannot be imported: {_what_failed(exc)}"
        ) from exc


def _is_within(dotted: str, package: str | None) -> bool:
    """Return whether ``package`` is the Python module ``dotted`` or one of the packages it is in."""
    return package is not None and f"{dotted}.".startswith(f"{package}.")


def _what_failed(error: Exception) -> str:
    """Return the error of an import as a person reads it, with the line of the code that raised it."""
    if isinstance(error, ModuleNotFoundError | SyntaxError):  # these say where by themselves
        return str(error)
    text = str(error) if isinstance(error, ImportError | ConfigError) else f"{type(error).__name__}: {error}"
    frames = [each for each in extract_tb(error.__traceback__) if not each.filename.startswith(_NOT_THEIRS)]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def load_modules(names: Iterable[str], origin: str = "modules") -> tuple[Module, ...]:
    """Import the Python modules ``names``; return their Module objects. ``origin`` says who named them.

    Raises ConfigError for one that cannot be imported, holds no Module, or has another's name.
    """
    found: dict[str, tuple[str, Module]] = {}
    for dotted in dict.fromkeys(names):
        module = _module_in(dotted, origin)
        if module.name in found:
            raise ConfigError(
                f"modules ({origin}): {found[module.name][0]!r} and {dotted!r} are both named"
                f" {module.name!r}; give one of them another name"
            )
        found[module.name] = (dotted, module)
    return tuple(module for _, module in found.values())


def _module_in(dotted: str, origin: str) -> Module:
    try:
        module = getattr(importlib.import_module(dotted), "module", None)
    except Exception as exc:  # whatever the module's own code raises while it is imported
        is_missing = isinstance(exc, ModuleNotFoundError) and _is_within(dotted, exc.name)
        advice = "; install it beside ordermq, or name its folder in PYTHONPATH" if is_missing else ""
        raise ConfigError(
            f"modules ({origin}): cannot import {dotted!r}: {_what_failed(exc)}{advice}"
        ) from exc
    if not isinstance(module, Module):
        raise ConfigError(
            f"modules ({origin}): {dotted!r} holds no Module; write in it:"
            f' module = Module("{dotted.rpartition(".")[2]}", handlers=[...])'
        )
    return module
