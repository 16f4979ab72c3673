"""A process that serves until a signal stops it: logs, health port, systemd, signals, exit code.

sent to systemd              when
READY=1                      at the first beat of a process that is ready, or that a person has paused
WATCHDOG=1                   at every beat of the service's loop, while the process is live
STATUS=...                   when the reasons why the process is not ready have changed; its counts every 5 s
STOPPING=1                   at the stop signal
"""

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ordermq import failpoints
from ordermq.cli.doctor.certificates import show_tls_files
from ordermq.cli.processes import in_flight
from ordermq.cli.program import Program
from ordermq.cli.run import BUG, Invocation, explain
from ordermq.clock import monotonic_s
from ordermq.config.environment import supervisor
from ordermq.config.settings import Settings
from ordermq.errors import DrainTimeout, HandlerOverdue, OrderMQError
from ordermq.lifecycle import ThreadService, run_until_signalled
from ordermq.log_events import PROCESS_BUG, PROCESS_FAILED, SETTINGS_RELOADED, SETTINGS_UNREADABLE
from ordermq.observe import logs
from ordermq.observe.counts import counts
from ordermq.observe.foreign import logging_stderr
from ordermq.observe.health import MAIN, Health
from ordermq.observe.http import HealthServer
from ordermq.observe.systemd import Notifier
from ordermq.observe.tracing import sending_spans
from ordermq.store import migrate

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_COUNTS_EVERY_S = 5.0
_COLLECT_EVERY = 10_000  # objects
LOGS = {"observe.log_level", "observe.log_format"}
RELOADED = LOGS | {
    "observe.handled_lines_per_s",
    "consumer.handler_deadline_s",
    "consumer.drain_deadline_s",
}
"""What SIGHUP changes in a process that runs."""


class SupervisedHealth(Health):
    """Health that is also sent to systemd, by the thread that beats as ``io``."""

    def __init__(self, notifier: Notifier) -> None:
        super().__init__()
        self._notifier = notifier
        self._was_ready = False
        self._status = ""
        self._look_at_s = 0.0
        self._count_at_s = 0.0
        self._counts = ""

    def beat(self, name: str = MAIN) -> None:
        super().beat(name)
        if name == MAIN:
            if self.live().is_good:
                self._notifier.watchdog()
            now_s = monotonic_s()
            if now_s >= self._look_at_s:
                self._look_at_s = now_s + _LOOK_EVERY_S
                logs.say_dropped()
                self._notify()

    def _notify(self) -> None:
        verdict = self.ready()
        if monotonic_s() >= self._count_at_s:
            self._count_at_s = monotonic_s() + _COUNTS_EVERY_S
            self._counts = counts()
        status = f"{'; '.join(verdict.reasons) or 'working'}; {self._counts}"
        if self.is_up and not self._was_ready:
            self._was_ready = True
            self._notifier.ready(status)
        elif status != self._status:
            self._notifier.status(status)
        self._status = status


class Reload:
    """What SIGHUP does: RELOADED as the settings are now, and a line about the rest. Never raises."""

    def __init__(self, program: Program, service: str) -> None:
        self._program = program
        self._service = service

    def configure_logs(self, settings: Settings) -> None:
        """Write logs as ``settings`` say."""
        packages = {each.partition(".")[0] for each in self._program.settings.modules}
        name = self._program.correlation_name
        logs.configure(settings.observe, self._service, packages=packages, correlation_name=name)

    def __call__(self, apply: Callable[[Settings], None]) -> None:
        """Read the settings; ``apply`` has the service take over its limits."""
        try:
            loaded = self._program.load_again()
        except Exception as exc:  # whatever stands in the file now, the process goes on as it is
            log.error(
                "SIGHUP: the settings cannot be read, and none was changed: %s",
                exc,
                extra=SETTINGS_UNREADABLE,
            )
            return
        self.configure_logs(loaded.settings)
        apply(loaded.settings)
        observe = loaded.settings.observe
        log.warning(
            "SIGHUP: log level %s, format %s; %s",
            observe.log_level,
            observe.log_format,
            self._rest(set(self._program.loaded.differences(loaded)) - LOGS),
            extra=SETTINGS_RELOADED,
        )

    @staticmethod
    def _rest(changed: set[str]) -> str:
        """Say which settings are not what they were at the start, and which of them are not in force yet."""
        parts = {
            "in force now": sorted(changed & RELOADED),
            "in force after a restart": sorted(changed - RELOADED),
        }
        said = [f"{when}: {', '.join(names)}" for when, names in parts.items() if names]
        return "; ".join(said) or "nothing else changed"


class Process:
    """A process that is set up, and whose one service is still to be run."""

    def __init__(self, health: Health, notifier: Notifier, reload: Reload) -> None:
        self.health = health
        self._notifier = notifier
        self._reload = reload

    def serve(self, service: ThreadService, reload: Callable[[Settings], None] = lambda _: None) -> None:
        """Run ``service`` until it ends or a signal stops it (``hold_signals``). Raises its error.

        ``reload`` has the service take over limits from settings that were read again.
        """
        _collect_seldom()
        run_until_signalled(
            _Announced(service, self._notifier),
            lambda: self._reload(reload),
            lambda: in_flight.answer(service.in_flight()),
        )
        if service.failure is not None:
            raise service.failure


def _collect_seldom() -> None:
    """Have Python look for cycles of garbage every 10,000 new objects, and not at what was imported.

    Batches of messages are many objects and no cycles: to look every 700, and again and again at
    all that was imported, took a twentieth of a consumer's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


@contextmanager
def serving(program: Program, name: str) -> Iterator[Process]:
    """Set the process up as the service ``name``; log an error of the block and exit with its code.

    Blocks while it compares the tables of the database with the migrations of this code.
    """
    reload = Reload(program, name)
    reload.configure_logs(program.settings)
    debug = click.get_current_context().ensure_object(Invocation).debug
    settings = program.settings
    spans = sending_spans(name, exchange=settings.topology.prefix, continues=settings.observe.trace_continues)
    with logging_stderr(), _logging_the_end(debug=debug), spans:
        failpoints.warn()
        session = program.session(name)
        migrate.check(session, program.migrations)
        session.close()
        notifier = Notifier(supervisor())
        health = SupervisedHealth(notifier)
        show_tls_files(settings)
        server = HealthServer(program.settings.observe, health)
        try:
            yield Process(health, notifier, reload)
        finally:
            server.close()


@contextmanager
def _logging_the_end(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except (DrainTimeout, HandlerOverdue) as exc:
        log.critical("%s", explain(exc), extra=PROCESS_FAILED)
        logging.shutdown()
        os._exit(exc.exit_code)  # a thread still runs, and a normal exit would wait for it
    except OrderMQError as exc:
        log.critical("%s", explain(exc), exc_info=exc if debug else None, extra=PROCESS_FAILED)
        raise click.exceptions.Exit(exc.exit_code) from exc
    except Exception as exc:  # the process ends here, and the log must say why
        log.critical("this is a bug in ordermq or in a handler", exc_info=exc, extra=PROCESS_BUG)
        raise click.exceptions.Exit(BUG) from exc


class _Announced:
    """A service whose stop is also sent to systemd."""

    def __init__(self, service: ThreadService, notifier: Notifier) -> None:
        self._notifier = notifier
        self.start = service.start
        self.join = service.join
        self._stop = service.stop

    def stop(self) -> None:
        self._notifier.stopping("finishing running work")
        self._stop()
