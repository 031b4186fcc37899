"""Many queries of an evaluation: few requests that overlap, with the answers of each query by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import httpx
import numpy as np
import pytest
from tests.sources.prometheus.conftest import T0, Server, running_prometheus

from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus.api import MAX_UNION_POINTS, PrometheusSource
from foreshock_dashboard.sources.prometheus.pacing import MAX_UNION_QUERIES
from foreshock_dashboard.sources.prometheus.promql import union

STEP = 10.0
QUERIES = (
    Query("fleet_power", by=("job", "gpu")),
    Query("fleet_absent", by=("job",)),
    Query("fleet_power", (Matcher("gpu", "=", "g0"),)),
    *(Query("fleet_busy_total", by=by, reduce="rate") for by in (("gpu",), ("job",), (), None)),
    Query("fleet_busy_total", by=("gpu",), reduce="increase", window=29.0),
    Query("fleet_seconds", by=("job",), reduce="buckets"),
    *(Query(f"fleet_extra_{number}", by=("gpu",)) for number in range(20)),
)


def batches() -> Iterator[SampleBatch]:
    """Ten minutes of two GPUs and a histogram, every ten seconds."""
    for tick in range(60):
        samples = [
            Sample("fleet_seconds_bucket", labels_of({"job": "a", "le": le}), tick * 2.0) for le in ("1", "+Inf")
        ]
        for gpu in ("g0", "g1"):
            labels = labels_of({"job": "a", "gpu": gpu})
            samples += [Sample("fleet_power", labels, 100.0 + tick), Sample("fleet_busy_total", labels, tick * 3.0)]
            samples += [Sample(f"fleet_extra_{number}", labels, number + 0.5) for number in range(20)]
        yield SampleBatch(T0 + tick * STEP, "a", tuple(samples))


class Counting(httpx.HTTPTransport):
    """Sends to the real server, and knows how many requests there were, and how many were open at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = self.open = self.most = 0
        self._lock = Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As `HTTPTransport`."""
        with self._lock:
            self.sent, self.open = self.sent + 1, self.open + 1
            self.most = max(self.most, self.open)
        try:
            return super().handle_request(request)
        finally:
            with self._lock:
                self.open -= 1


def assert_equal(found: Matrix, expected: Matrix) -> None:
    """Both have the same series and values."""
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("points", [1, MAX_UNION_POINTS, MAX_UNION_POINTS + 20])
def test_queries_together_have_the_answers_of_each_by_itself(own_prometheus: Server, points: int) -> None:
    """In one request per eight queries for few grid points, and at most as many at once as configured."""
    own_prometheus.write(batches())
    transport = Counting()
    source = PrometheusSource(own_prometheus.url, concurrency=3, transport=transport)
    start = T0 + 120.0
    end = start + (points - 1) * STEP

    found = [*source.fetch_all(QUERIES, start, end, STEP)]

    size = MAX_UNION_QUERIES if points <= MAX_UNION_POINTS else 1
    assert transport.sent == -(-len(QUERIES) // size)
    assert 1 <= transport.most <= 3
    assert sum(map(len, found)) > len(QUERIES)
    for query, matrix in zip(QUERIES, found, strict=True):
        assert_equal(matrix, source.fetch(query, start, end, STEP))
    source.close()


def test_a_server_that_allows_less_gets_fewer_queries_at_once(tmp_path: Path) -> None:
    """Each refusal halves them, at once and for later evaluations."""
    with running_prometheus(tmp_path, "--query.max-samples=24") as server:
        server.write(batches())
        transport = Counting()
        source, sent = PrometheusSource(server.url, transport=transport), list[int]()
        for _ in range(2):
            found = [*source.fetch_all(QUERIES, T0 + 120.0, T0 + 120.0, STEP)]
            assert sum(map(len, found)) > len(QUERIES)
            sent.append(transport.sent)
        assert sent[1] - sent[0] < sent[0]
        source.close()


def test_no_query_is_sent_after_one_has_failed() -> None:
    """A server that is overloaded must not get the rest of an evaluation."""
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500, json={"status": "error", "errorType": "internal", "error": "overloaded"})

    source = PrometheusSource("http://prom", concurrency=2, transport=httpx.MockTransport(refuse))
    with pytest.raises(Exception, match="overloaded"):
        [*source.fetch_all([Query(f"m{number}") for number in range(100)], 0.0, 1000.0, STEP)]
    assert len(sent) <= 3


def test_a_union_names_the_query_of_each_series_in_a_balanced_tree() -> None:
    """Each `or` hashes the series of both sides."""
    parts = [
        f'label_replace(sum by (x) (rate({metric}[59000ms])), "foreshock_query", "{position}", "", "")'
        for position, metric in enumerate("abcd")
    ]
    queries = [Query(metric, by=("x",), reduce="rate") for metric in "abcd"]
    assert union(queries) == f"(({parts[0]} or {parts[1]}) or ({parts[2]} or {parts[3]}))"
