"""What is written to stderr, and that writing never hurts."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from ordermq import __version__
from ordermq.config import Secret
from ordermq.config.settings import ObserveSettings
from ordermq.log_events import RELAY_RESUMED
from ordermq.observe import logs, metrics

log = logging.getLogger("ordermq.test")


@pytest.fixture
def configured(monkeypatch, capfd) -> Callable[..., Callable[[], list[str]]]:
    """Configure logging for one test; returns what reads the lines written since."""
    root = logging.getLogger()
    noisy = logging.getLogger("pika.adapters.blocking_connection")
    before = (root.level, noisy.filters[:])
    levels = {name: logging.getLogger(name).level for name in ("ordermq", "shop", "pika")}
    logging.getLogger("pika").setLevel(logging.NOTSET)  # an application may have wished to hear it
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def configure(log_format: str = "json", log_level: str = "INFO", **options) -> Callable[[], list[str]]:
        root.handlers.clear()  # pytest's raise what ours must not; it adds new ones for each phase
        settings = ObserveSettings(log_format=log_format, log_level=log_level)
        logs.configure(settings, "ordermq-consumer@inventory:2", **options)
        return written

    def written() -> list[str]:
        return capfd.readouterr().err.splitlines()

    yield configure
    logging.captureWarnings(False)
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, logs.StderrHandler)]
    root.setLevel(before[0])
    noisy.filters[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def records(lines: list[str]) -> list[dict[str, object]]:
    return [json.loads(each) for each in lines]


def test_a_record_is_one_json_line_with_the_bound_fields_and_the_extras(configured):
    lines = configured()

    with logs.bind(message_id="m1", order_id="o1", queue="inventory", trace_id="t1", span_id="s1"):
        log.info("settled %d", 3, extra=RELAY_RESUMED.having(duration_s=0.5, batch=7))

    (record,) = records(lines())
    assert list(record)[:3] == ["@timestamp", "log.level", "message"]
    assert record.pop("@timestamp").endswith("Z")
    assert record == {
        "log.level": "info",
        "message": "settled 3",
        "ecs.version": "8.17.0",
        "service.name": "ordermq-consumer",
        "service.node.name": "ordermq-consumer@inventory:2",
        "service.version": __version__,
        "log.logger": "ordermq.test",
        "process.pid": os.getpid(),
        "event.action": "relay-resumed",
        "event.duration": 500_000_000,
        "trace.id": "t1",
        "span.id": "s1",
        "labels.message_id": "m1",
        "labels.order_id": "o1",
        "labels.queue": "inventory",
        "labels.batch": 7,
    }


def test_text_for_a_person_has_short_names_and_no_event(configured):
    lines = configured("text")
    with logs.bind(queue="inventory", span_id="s1"):
        log.info("settled %d", 3, extra=RELAY_RESUMED.having(duration_s=0.5, batch=7))
    (said,) = lines()
    assert said[12:] == " INFO ordermq.test: settled 3  queue=inventory  batch=7"


def test_the_timestamp_is_rfc_3339_in_utc_with_milliseconds(configured):
    lines = configured()
    record = logging.makeLogRecord(
        {"name": "ordermq", "levelname": "INFO", "levelno": 20, "msg": "x", "created": 1_700_000_000.0}
    )

    logging.getLogger().handle(record)

    assert records(lines())[0]["@timestamp"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_correlation_id_is_written_under_the_name_a_module_gives_it(configured, log_format):
    written = configured(log_format, correlation_name="order_id")
    with logs.bind(correlation_id="A-1"):
        log.info("bound")
    log.info("extra", extra={"correlation_id": "A-2"})
    first, second = written()
    assert all("order_id" in line and "correlation_id" not in line for line in (first, second))
    assert "A-1" in first
    assert "A-2" in second


def test_bound_fields_nest_and_end_with_their_block(configured):
    lines = configured()

    with logs.bind(queue="inventory"):
        with logs.bind(order_id="o1", queue=None):
            log.info("inner")
        log.info("outer")
    log.info("none")

    assert [(each.get("labels.queue"), each.get("labels.order_id")) for each in records(lines())] == [
        ("inventory", "o1"),
        ("inventory", None),
        (None, None),
    ]


def test_an_extra_cannot_pose_as_a_fixed_field(configured):
    lines = configured()

    with logs.bind(**{"log.level": "debug", "trace.id": "forged"}):
        log.warning("x", extra={"service.name": "forged", "@timestamp": "1970"})

    (record,) = records(lines())
    assert (record["log.level"], record["service.name"]) == ("warning", "ordermq-consumer")
    assert record["@timestamp"] != "1970"
    assert "trace.id" not in record
    assert record["labels.trace_id"] == "forged"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_a_publisher_sent_cannot_forge_a_line_or_drive_the_terminal(configured, log_format):
    """LOG3: what a publisher sent is escaped."""
    lines = configured(log_format)
    evil = 'x\n{"level": "INFO", "message": "all is well"}\x1b[2J\u202e'

    with logs.bind(message_id=evil, **{evil: evil}):
        log.warning("refused %s", evil, extra={"routing_key": evil})
        log.warning(evil)

    written = lines()
    assert len(written) == 2
    assert not {"\x1b", "\u202e"} & set("".join(written))


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_exception_is_part_of_its_record(configured, log_format):
    lines = configured(log_format)

    try:
        raise ValueError("bad\n12:00:00.000 INFO ordermq.relay: all is well")
    except ValueError:
        log.exception("failed")

    head, *rest = lines()
    if log_format == "json":
        assert rest == []
        record = json.loads(head)
        assert "ValueError: bad\n12:00" in record["error.stack_trace"]
        assert (record["error.type"], record["error.message"][:5]) == ("ValueError", "bad\\n")
    else:
        assert "ERROR ordermq.test: failed" in head
        assert all(each.startswith("    ") for each in rest)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_credential_reaches_the_log_by_any_way(configured, log_format):
    """LOG3: a known credential is never written."""
    lines = configured(log_format)
    password = Secret("hunter2-hunter2").reveal()

    with logs.bind(order_id=password):
        log.info("at amqp://u:%s@host", password, extra={"dsn": f"host=x password={password}", password: 1})
        log.info({"token": password})
        try:
            raise RuntimeError(password) from KeyError(password)
        except RuntimeError:
            log.exception("lost")

    assert "hunter2" not in "\n".join(lines())


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_address_phone_or_card_number_of_an_error_reaches_the_log(configured, log_format):
    """LOG3: nor what looks like personal data."""
    lines = configured(log_format)
    personal = ("jane.doe+x@mail.somewhere.example", "+49 (30) 123-456-78", "4111 1111 1111 1111")
    for each in personal:
        log.warning("bad %s", each, extra={"reply_to": each})
        try:
            raise RuntimeError(each) from KeyError(each)
        except RuntimeError:
            log.exception("lost")
    said = "\n".join(lines())
    assert not [each for each in personal if each[-8:] in said and "4111" not in each]
    assert said.count("<e-mail>") >= 4
    assert said.count("<phone>") >= 4
    assert said.count("<card number>") >= 4
    assert "4111" not in said


JOURNAL = """
import os, socket, sys
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
os.dup2(there.fileno(), 2)
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino + int(sys.argv[2])}"
import logging
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs
from ordermq.observe.foreign import logging_stderr
logs.configure(ObserveSettings(log_format=sys.argv[1]), "test")
log = logging.getLogger("ordermq.x")
with logging_stderr():
    log.info("a")
    log.warning("b")
    log.error("c", exc_info=ValueError("d\\ne"))
    log.critical("f")
    print("g", file=sys.stderr)
there.close(); os.dup2(1, 2)
print(here.recv(100_000).decode(), end="")
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_to_the_journal_a_record_is_one_line_that_begins_with_its_priority(log_format):
    """LOG5."""
    program = [sys.executable, "-c", JOURNAL, log_format]
    said = subprocess.run([*program, "0"], stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
    assert sorted(line[:3] for line in said.splitlines()) == ["<2>", "<3>", "<4>", "<4>", "<6>"]
    elsewhere = subprocess.run([*program, "1"], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert "<4>" not in elsewhere.stdout


def test_others_write_from_warning_on_and_the_named_packages_from_the_level_set(configured):
    lines = configured(log_level="DEBUG", packages=["shop"])

    for name in ("ordermq.relay", "shop.handlers", "pika.connection", "urllib3"):
        logging.getLogger(name).debug("detail")
        logging.getLogger(name).warning("trouble")

    assert [(each["log.logger"], each["log.level"]) for each in records(lines())] == [
        ("ordermq.relay", "debug"),
        ("ordermq.relay", "warning"),
        ("shop.handlers", "debug"),
        ("shop.handlers", "warning"),
        ("pika.connection", "warning"),
        ("urllib3", "warning"),
    ]


def test_pikas_warning_with_the_body_of_a_returned_message_is_not_written(configured):
    lines = configured()
    pika = logging.getLogger("pika.adapters.blocking_connection")

    pika.warning("Published message was returned: body_prefix=%.255r", b"jane@example.org")
    pika.warning("something else")

    assert [each["message"] for each in records(lines())] == ["something else"]


def test_configuring_again_replaces_the_first_configuration(configured):
    configured()
    lines = configured("text")

    log.info("once")

    assert len(lines()) == 1


class Raises:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("message", "args"), [("%d", ("x",)), ("%s %s", ("x",)), ("%s", (Raises(),)), (Raises(), ())]
)
def test_a_record_that_cannot_be_formatted_is_reported_and_raises_nothing(configured, message, args):
    """LOG1: a log call never raises."""
    lines = configured()

    log.info(message, *args)

    (record,) = records(lines())
    assert record["log.level"] == "error"
    assert record["message"].startswith("a log record could not be written")


def test_an_exception_nobody_caught_is_a_record_in_any_thread(configured):
    lines = configured()

    thread = threading.Thread(target=lambda: 1 / 0, name="worker-1")
    thread.start()
    thread.join()

    (record,) = records(lines())
    assert (record["log.level"], record["message"]) == ("critical", "uncaught exception in thread worker-1")
    assert "ZeroDivisionError" in record["error.stack_trace"]


PROGRAM = """
import logging, sys, os
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs
logs.configure(ObserveSettings(), "test")
for n in range(100):
    logging.getLogger("ordermq.x").warning("line %d", n)
print("done")
{last}
"""


def run(last: str, stderr: int) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", PROGRAM.format(last=last)]
    return subprocess.run(program, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False)


def test_a_record_is_one_write_however_long_it_is(configured, monkeypatch):
    """LOG2: processes that share a stderr do not mix their lines."""
    configured()
    writes = []
    monkeypatch.setattr(os, "write", lambda descriptor, data: writes.append(bytes(data)) or len(data))
    log.info("x" * 5000, extra={"order_id": "o-1"})
    monkeypatch.undo()
    [line] = writes
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


SHARED = """
import logging, sys
from ordermq.config.settings import ObserveSettings
from ordermq.observe import logs
logs.configure(ObserveSettings(), "test")
for n in range(100):
    logging.getLogger("ordermq.x").warning("%s", sys.argv[1] * 6000)
"""


def test_lines_longer_than_a_pipe_takes_at_once_are_not_torn_by_processes_that_share_it():
    """LIN1: nor is one dropped while somebody reads."""
    reader, writer = os.pipe()
    started = [subprocess.Popen([sys.executable, "-c", SHARED, each], stderr=writer) for each in "abcdef"]
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = pipe.read().splitlines()
    assert [process.wait(20) for process in started] == [0] * 6
    assert {json.loads(each)["message"] for each in lines} == {each * 6000 for each in "abcdef"}
    assert len(lines) == 600


@pytest.fixture
def stalled():
    """A handler on a pipe that nobody reads, the logger it writes for, and what reads all lines."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    handler = logs.StderrHandler(writer)
    handler.setFormatter(logs.JsonFormat("test"))
    logger = logging.Logger("ordermq.stalled")
    logger.addHandler(handler)

    def lines():
        return [json.loads(each) for each in os.read(reader, 1 << 20).splitlines()]

    yield handler, logger, lines
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("size", [100, 3000, 6000])
def test_a_reader_that_stands_still_costs_lines_and_half_a_second_and_is_told_how_many(stalled, size):
    """LIN2."""
    handler, logger, lines = stalled
    before = metrics.REGISTRY.get_sample_value("ordermq_log_lines_dropped_total")
    begun_s = time.monotonic()
    for number in range(2000):
        logger.warning("%d %s", number, "x" * size)
    assert time.monotonic() - begun_s < 100.0  # not half a second for each
    kept = lines()
    assert [each["message"].split()[0] for each in kept] == [str(n) for n in range(len(kept))]
    handler.say_dropped()
    [said] = lines()
    assert said["message"].startswith(f"{2000 - len(kept)} log lines were dropped")
    dropped = metrics.REGISTRY.get_sample_value("ordermq_log_lines_dropped_total") - before
    assert dropped == 2000 - len(kept)
    logger.warning("it flows")
    assert [each["message"] for each in lines()] == ["it flows"]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("letter", ["x", "\u20ac", "\U0001f600", "\x00", "\u202e"])
def test_no_record_is_longer_than_a_line_of_journald(configured, log_format, letter):
    """LOG4."""
    lines = configured(log_format)
    try:
        raise ValueError("".join(f"line {n} {letter * 5000}\n" for n in range(40)))
    except ValueError:
        log.exception("failed %s", letter * 9000, extra={f"field_{n}": letter * 2000 for n in range(30)})
    assert len("\n".join(lines()).encode()) < 48 * 1024


def test_a_reader_that_went_away_costs_the_records_and_not_the_process():
    reader, writer = os.pipe()
    os.close(reader)

    finished = run("", writer)

    os.close(writer)
    assert (finished.returncode, finished.stdout) == (0, "done\n")


def test_a_full_disk_costs_the_records_and_not_the_process():
    with open("/dev/full", "w") as full:
        finished = run("", full.fileno())

    assert (finished.returncode, finished.stdout) == (0, "done\n")


def test_a_closed_stderr_costs_the_records_and_not_the_process():
    """LOG1: nor does it when stderr is closed."""
    finished = run("os.close(2); logging.getLogger('ordermq.x').warning('late')", subprocess.DEVNULL)

    assert (finished.returncode, finished.stdout) == (0, "done\n")


def test_an_uncaught_exception_of_the_main_thread_is_one_json_line():
    finished = run("raise RuntimeError('password=hunter2')", subprocess.PIPE)

    last = json.loads(finished.stderr.splitlines()[-1])
    assert (finished.returncode, last["log.level"]) == (1, "critical")
    assert "RuntimeError: password=***" in last["error.stack_trace"]
