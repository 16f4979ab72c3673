"""The picture of a run."""

import re

from benchmarks.chart import chart


def figure(median, unit):
    return {"median": median, "unit": unit, "min": median, "max": median, "n": 1}


def test_each_rate_is_a_bar_as_long_as_its_part_of_the_largest():
    svg = chart(
        {
            "publish": {"ordermq": figure(2000.0, "msg/s"), "pika": figure(500.0, "msg/s")},
            "latency": {"ordermq_p50": figure(3.0, "ms"), "ordermq_200_offered": figure(200.0, "orders/s")},
        }
    )

    bars = [int(width) for width in re.findall(r'<rect x="250" y="\d+" width="(\d+)"', svg)]
    assert bars == [430, 108]
    assert "2,000 msg/s" in svg
    assert "latency" not in svg


def test_a_case_that_failed_leaves_no_gap_and_no_error():
    assert "<rect x=" not in chart({"publish": {}, "relay": {"ordermq": figure(0.0, "ms")}})
