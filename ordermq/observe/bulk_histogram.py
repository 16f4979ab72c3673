"""A histogram that takes many observations at once, at a fraction of the cost of one by one.

A consumer settles hundreds of messages in one transaction; prometheus-client's histogram takes a lock and
some Python calls for each.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString


def _written(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # it has no annotations


class BulkHistogram:
    """A histogram with one label. Thread-safe. A collector of ``registry``."""

    def __init__(
        self, name: str, doc: str, label: str, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """``buckets`` are upper bounds in rising order; what is over the last counts as infinite."""
        self._name, self._doc, self._label = name, doc, label
        self._buckets = tuple(buckets)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def observe_many(self, value_of_label: str, values: Iterable[float]) -> None:
        """Count ``values``."""
        buckets = self._buckets
        with self._lock:
            counts = self._counts.setdefault(value_of_label, [0] * (len(buckets) + 1))
            total = self._sums.get(value_of_label, 0.0)
            for value in values:
                counts[bisect_left(buckets, value)] += 1
                total += value
            self._sums[value_of_label] = total

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what was counted; prometheus-client calls it for each scrape."""
        family = HistogramMetricFamily(self._name, self._doc, labels=[self._label])
        with self._lock:
            found = [(each, list(counts), self._sums[each]) for each, counts in self._counts.items()]
        for value_of_label, counts, total in found:
            below, cumulated = 0, []
            for bound, count in zip((*self._buckets, float("inf")), counts, strict=True):
                below += count
                cumulated.append((_written(bound), below))
            family.add_metric([value_of_label], buckets=cumulated, sum_value=total)
        yield family

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield what there will be, without samples; prometheus-client calls it once."""
        yield HistogramMetricFamily(self._name, self._doc, labels=[self._label])
