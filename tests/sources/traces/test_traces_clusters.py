"""Traces of two clusters with the same services, from every source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sources.traces.conftest import T0, Load, MakeSpan

from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.traces.clusters import ClusterTraces
from foreshock_dashboard.store import Store


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[ClusterSource]:
    """A source of metrics with two clusters."""
    store = Store.open(tmp_path / "metrics", now=lambda: float(T0))
    store.append_samples(
        [SampleBatch(T0, "t", tuple(Sample("up", (("cluster", name),), 1.0) for name in ("eu", "us")))]
    )
    source = ClusterSource(store)
    source.look(T0 + 1.0, 60.0)
    yield source
    store.close()


def test_a_service_of_one_cluster_is_searched_and_named_as_its_metrics_are(
    load: Load, span: MakeSpan, metrics: ClusterSource
) -> None:
    assert metrics.has_several
    made = [
        span(number, service="chat", namespace="shop", resource={"k8s.cluster.name": cluster})
        for number, cluster in ((1, "eu"), (2, "us"))
    ]
    traces = ClusterTraces(load(made), metrics)
    (only,) = traces.get(f"{1:032x}")
    assert only.service == Service.parse("eu//shop/chat")
    found = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("eu//shop/chat")))
    assert f"{1:032x}" in {item.trace_id for item in found}
    slow = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("eu//shop/chat"), min_duration=3600.0))
    assert slow == ()
    everywhere = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("shop/chat")))
    assert len(everywhere) == 2


def test_spans_without_their_cluster_are_found_for_the_service_of_any_cluster(
    load: Load, span: MakeSpan, metrics: ClusterSource
) -> None:
    """Clusters may be known only from `external_labels`."""
    traces = ClusterTraces(load([span(1, service="chat", namespace="shop")]), metrics)
    found = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("eu//shop/chat")))
    assert [item.trace_id for item in found] == [f"{1:032x}"]
    assert "k8s.cluster.name=eu not found: traces of shop/chat in any cluster" in note_of(found)
    other = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("eu//shop/cart")))
    assert (other, note_of(other)) == ((), "")


def test_with_one_cluster_spans_are_passed_through(load: Load, span: MakeSpan, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "metrics", now=lambda: float(T0))
    try:
        made = span(1, service="chat", namespace="shop", resource={"k8s.cluster.name": "eu"})
        (found,) = ClusterTraces(load([made]), ClusterSource(store)).get(f"{1:032x}")
        assert found.service == Service("shop", "chat")
    finally:
        store.close()
