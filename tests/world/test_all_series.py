"""All metrics of a source, whatever their names."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, grid
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.world.all_series import read_all_series

START = 1_800_000_000.0


class Constants(MetricSource):
    """A source whose metrics have one series each, with one value."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def metric_names(self) -> frozenset[str]:
        """All of them."""
        return frozenset(self.values)

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """The value at every grid point."""
        times = grid(start, end, step)
        return Matrix.of(times, {labels_of({"job": "shop"}): np.full(len(times), self.values[query.metric])})


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"requests_total": 5.0, "requests_created": START}, ["requests_total"]),
        ({"wait_seconds_count": 5.0, "wait_seconds_sum": 1.0, "wait_seconds_created": START}, ["wait_seconds"]),
        ({"requests": 5.0, "requests_created": START}, ["requests"]),
        ({"orders": 5.0, "orders_created": 7.0}, ["orders", "orders_created"]),
    ],
    ids=["of a counter", "of a histogram", "a Unix time", "a number of things created"],
)
def test_the_time_at_which_a_metric_began_is_not_read(values: dict[str, float], read: list[str]) -> None:
    """Its name would make it traffic or latency."""
    assert [series.metric for series in read_all_series(Constants(values), START, START + 60, 10.0)] == read
