"""The counts of this process in one line, for ``systemctl status``."""

from collections.abc import Mapping

from prometheus_client.metrics import MetricWrapperBase

from ordermq.observe import metrics


def counts() -> str:
    """Return what a consumer has settled and holds, or what a relay has sent and not yet sent."""
    settled = _by_label(metrics.settled, "outcome")
    if settled:
        held = _total(metrics.inflight)
        parts = {
            "handled": settled["done"], "in flight": held, "retries": settled["retry"],
            "postponed": settled["postponed"], "duplicates": settled["duplicate"], "dead": settled["dead"],
        }  # fmt: skip
    else:
        refused = _total(metrics.returned) + _total(metrics.nacked)
        waiting = _total(metrics.outbox_pending)
        parts = {"sent": _total(metrics.confirmed), "refused": refused, "waiting": waiting}
    return ", ".join(f"{name} {value:.0f}" for name, value in parts.items())


def _total(metric: MetricWrapperBase) -> float:
    return sum(_by_label(metric, "").values())


def _by_label(metric: MetricWrapperBase, label: str) -> Mapping[str, float]:
    """Return the metric's values, added up for each value of ``label``; nothing without a series."""
    found: dict[str, float] = {}
    for family in metric.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                value = sample.labels.get(label, "")
                found[value] = found.get(value, 0.0) + sample.value
    return found
