"""A BulkHistogram shows what prometheus-client's Histogram would."""

from random import Random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from ordermq.observe.bulk_histogram import BulkHistogram

BUCKETS = (0.1, 0.5, 1.0, 10.0)


def samples(registry):
    lines = generate_latest(registry).decode().splitlines()
    return sorted(each for each in lines if not each.startswith("#") and "_created" not in each)


def test_it_counts_as_a_histogram_does():
    random = Random(7)
    values = [*BUCKETS, *(random.uniform(0, 12) for _ in range(500))]
    one, other = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram("t_seconds", "doc", "queue", BUCKETS, one)
    histogram = Histogram("t_seconds", "doc", ["queue"], buckets=BUCKETS, registry=other)
    for queue in ("payment", "notify"):
        bulk.observe_many(queue, values)
        for value in values:
            histogram.labels(queue).observe(value)
    assert samples(one) == samples(other)


def test_before_the_first_value_it_has_no_series():
    registry = CollectorRegistry()
    BulkHistogram("t_seconds", "doc", "queue", BUCKETS, registry)
    assert samples(registry) == []
