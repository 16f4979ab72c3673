"""A private Prometheus and Alertmanager: what scrapes the processes, and what is told of alerts."""

import http.client
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ordermq.testing.stack.errors import ProgramMissing, StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports
from ordermq.testing.stack.programs import PATH
from ordermq.testing.stack.server import PrivateServer

_DURATION = re.compile(r"(?<=[\[ ])(\d+)([smhd])(?=[\] )\n])")
# A threshold in seconds, of a metric that is an age.
_AGE = re.compile(r"((?:oldest|waiting|age)_seconds\b[^\n<>]*(?:> 0\)\) )?> |predict_linear\(\S+\], )(\d+)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_ENV = {"PATH": PATH, "LANG": "C.UTF-8"}


#: Addresses and labels of what is scraped, by job.
Targets = Mapping[str, Sequence[tuple[str, Mapping[str, str]]]]


def faster(rules: str, times: int) -> str:
    """Return a file of rules with every window, ``for``, offset and age divided by ``times``.

    For a demonstration, or a drill in which faults last seconds and not minutes.
    """

    def duration(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _SECONDS[found[2]] * 1000 // times}ms"

    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / times:g}", _DURATION.sub(duration, rules))


class Series(NamedTuple):
    """One time series of an answer: its labels, and (Unix time, value) pairs in order."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]

    @property
    def value(self) -> float:
        """The last value."""
        return self.samples[-1][1]


class _Monitor(PrivateServer):
    """A server with a web page of its own, which says when it is ready."""

    program: str
    package: str

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place, name)
        self._name = name

    @property
    def port(self) -> int:
        return int(self._known["port"])

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    def is_serving(self) -> bool:
        try:
            return self._get("/-/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def launch(self) -> None:
        if self.process.pid is not None:
            return
        program = shutil.which(self.program, path=PATH)
        if program is None:
            raise ProgramMissing.of(self.title, self.package)
        if not self._known:
            self._known = {"port": free_ports(1)[0]}
            self._place.remember(self._name, self._known)
        self.process.start(
            [program, *self._arguments(self._place.given_folder(self._name))],
            env=_ENV,
            cwd=self._place.given_folder(self._name),
        )

    def _arguments(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def _get(self, path: str, **parameters: object) -> tuple[int, bytes]:
        where = f"{path}?{urlencode(parameters)}" if parameters else path
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)) as connection:
            connection.request("GET", where)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _ask(self, path: str, **parameters: object) -> Any:
        status, body = self._get(path, **parameters)
        if status != 200:
            raise StackError(f"{self.title} answered {status} to {path} {parameters}: {body[:500]!r}")
        return json.loads(body)


class PrivateAlertmanager(_Monitor):
    """An Alertmanager with a configuration given as text. It listens on 127.0.0.1 and joins no cluster."""

    title = "Alertmanager"
    program = "prometheus-alertmanager"
    package = "prometheus-alertmanager"

    def __init__(self, place: Place, config: str) -> None:
        super().__init__(place, "alertmanager")
        self._config = config

    def alerts(self) -> list[dict[str, Any]]:
        """Return what it was told of and has not been told is over: labels, annotations, status."""
        found: list[dict[str, Any]] = self._ask("/api/v2/alerts")
        return found

    def _arguments(self, folder: Path) -> list[str]:
        config = self._place.readable_file("alertmanager.yml", self._config)
        return [
            f"--config.file={config}", f"--storage.path={folder}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip


class PrivatePrometheus(_Monitor):
    """A Prometheus that scrapes ``targets``, {job: [(address, labels)]}, as they are when it starts.

    ``rules`` is the text of a file of rules. Everything is scraped and evaluated every ``every_s``
    seconds; a whole number of milliseconds.
    """

    title = "Prometheus"
    program = "prometheus"
    package = "prometheus"

    def __init__(
        self,
        place: Place,
        targets: Targets,
        rules: str,
        *,
        every_s: float = 1.0,
        alertmanager: PrivateAlertmanager | None = None,
    ) -> None:
        super().__init__(place, "prometheus")
        self.targets = dict(targets)
        self._rules = rules
        self._every = f"{round(every_s * 1000)}ms"
        self._alertmanager = alertmanager

    def query(self, expression: str, *, at_s: float | None = None) -> list[Series]:
        """Return what ``expression`` is at a Unix time, by default now. Raises StackError if it is wrong."""
        found = self._ask("/api/v1/query", query=expression, time=at_s or time.time())["data"]
        if found["resultType"] == "scalar":
            return [Series({}, [_sample(found["result"])])]
        return [Series(each["metric"], [_sample(each["value"])]) for each in found["result"]]

    def query_range(self, expression: str, *, begin_s: float, end_s: float, step_s: float) -> list[Series]:
        """Return what ``expression`` was from ``begin_s`` to ``end_s`` (Unix times)."""
        found = self._ask(
            "/api/v1/query_range", query=expression, start=begin_s, end=end_s, step=step_s
        )  # fmt: skip
        return [
            Series(each["metric"], [_sample(value) for value in each["values"]])
            for each in found["data"]["result"]
        ]

    def rules(self) -> dict[str, dict[str, str]]:
        """Return the annotations of each alert, by its name."""
        groups = self._ask("/api/v1/rules", type="alert")["data"]["groups"]
        return {rule["name"]: rule["annotations"] for group in groups for rule in group["rules"]}

    def firing(self, *, since_s: float) -> set[str]:
        """Return the names of the alerts that were firing at any time since the Unix time ``since_s``."""
        window = max(1, round(time.time() - since_s))
        found = self.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{window}s])')
        return {each.labels["alertname"] for each in found}

    def _arguments(self, folder: Path) -> list[str]:
        rules = self._place.readable_file("rules.yml", self._rules)
        config = {  # JSON is YAML
            "global": {"scrape_interval": self._every, "evaluation_interval": self._every},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": job,
                    "scrape_timeout": self._every,
                    "static_configs": [
                        {"targets": [address], "labels": dict(labels)} for address, labels in found
                    ],
                }
                for job, found in self.targets.items()
            ],
        }
        if self._alertmanager is not None:
            target = f"127.0.0.1:{self._alertmanager.port}"
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
        file = self._place.readable_file("prometheus.yml", json.dumps(config, indent=1))
        return [
            f"--config.file={file}", f"--storage.tsdb.path={folder}", "--query.lookback-delta=1m",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip


def _sample(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
