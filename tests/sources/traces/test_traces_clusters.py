"""Traces of two clusters with the same services, from every source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sources.traces.conftest import T0, Load, MakeSpan

from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import CLUSTER_ATTRIBUTE, TraceQuery
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.traces.clusters import ClusterTraces
from foreshock_dashboard.store import Store
from foreshock_dashboard.web.state.one_cluster_traces import OneClusterTraces


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


def test_lists_of_one_cluster_have_its_traces_and_an_id_finds_any(
    load: Load, span: MakeSpan, metrics: ClusterSource
) -> None:
    made = [
        span(number, service="chat", namespace="shop", resource={CLUSTER_ATTRIBUTE: cluster})
        for number, cluster in ((1, "eu"), (2, "us"))
    ]
    source = ClusterTraces(load(made), metrics)
    traces = OneClusterTraces(source, "eu")
    is_searchable = len(source.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("us//shop/chat")))) == 1
    slow = traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, min_duration=3600.0))
    assert (slow, note_of(slow)) == ((), "")
    for service in (None, "shop/chat", "eu//shop/chat"):
        query = TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse(service) if service else None)
        found = traces.search(query)
        assert sorted(int(item.trace_id, 16) for item in found) == ([1] if is_searchable else [1, 2]), service
        assert bool(re.search("(any|all) cluster", note_of(found))) is not is_searchable
    assert traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, Service.parse("us//shop/chat"))) == ()
    assert traces.search(TraceQuery(T0 - 60.0, T0 + 60.0, attributes={CLUSTER_ATTRIBUTE: "us"})) == ()
    assert len(traces.get(f"{2:032x}")) == 1


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
    of_page = OneClusterTraces(traces, "eu")
    all_of_page = of_page.search(TraceQuery(T0 - 60.0, T0 + 60.0))
    assert [item.trace_id for item in all_of_page] == [f"{1:032x}"]
    assert "traces of all clusters" in note_of(all_of_page)
    slow = of_page.search(TraceQuery(T0 - 60.0, T0 + 60.0, min_duration=3600.0))
    assert (slow, note_of(slow)) == ((), "")


def test_with_one_cluster_spans_are_passed_through(load: Load, span: MakeSpan, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "metrics", now=lambda: float(T0))
    try:
        made = span(1, service="chat", namespace="shop", resource={"k8s.cluster.name": "eu"})
        (found,) = ClusterTraces(load([made]), ClusterSource(store)).get(f"{1:032x}")
        assert found.service == Service("shop", "chat")
    finally:
        store.close()
