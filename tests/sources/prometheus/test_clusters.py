"""Two clusters with the same names behind one source: nothing of one is mixed into the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Protocol
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.query import LimitError, Matcher, MetricSource, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.clusters import DETECTION_SECONDS, ClusterSource
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_dashboard.store import Store
from foreshock_dashboard.web.state.one_cluster import world_of
from foreshock_dashboard.world.builder import build_world, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import fetch_catalog

START, STEP, POINTS = 1_800_000_000.0, 10.0, 12
PAGE = """
up{job="gpus",instance="10.0.0.1:10877"} 1
up{job="vllm",instance="10.0.0.1:8000"} 1
target_info{job="gpus",instance="10.0.0.1:10877",host_name="node-1"} 1
gpu_info{job="gpus",instance="10.0.0.1:10877",uuid="GPU-1",gpu="0",model="H100"} 1
gpu_pool_info{uuid="GPU-1",pool="shared"} 1
gpu_busy_seconds_total{job="gpus",instance="10.0.0.1:10877",uuid="GPU-1"} {N}
gpu_service_busy_seconds_total{job="gpus",instance="10.0.0.1:10877",uuid="GPU-1",service_name="chat",service_namespace="shop"} {N}
gpu_service_busy_seconds_total{job="gpus",instance="10.0.0.1:10877",uuid="GPU-1",service_name="batch"} {N}
gpu_service_wait_by_aggressor_seconds_total{job="gpus",instance="10.0.0.1:10877",uuid="GPU-1",service_name="chat",service_namespace="shop",aggressor_name="batch"} {N}
traces_span_metrics_calls_total{service_name="chat",service_namespace="shop",span_kind="SPAN_KIND_SERVER",span_name="POST /chat"} {N}
traces_span_metrics_calls_total{service_name="llm",span_kind="SPAN_KIND_SERVER",span_name="POST /llm"} {N}
traces_service_graph_request_total{client="chat",client_service_namespace="shop",server="llm"} {N}
traces_service_graph_request_total{client="user",server="chat",server_service_namespace="shop",connection_type="virtual_node"} {N}
target_info{job="llm",instance="pod-1",k8s_pod_name="llm-0",k8s_namespace_name="serving"} 1
vllm:num_requests_running{job="vllm",instance="10.0.0.1:8000",model_name="bed-7b",pod="llm-0",namespace="serving"} 3
vllm:num_requests_waiting{job="vllm",instance="10.0.0.1:8000",model_name="bed-7b",pod="llm-0",namespace="serving"} 1
kube_deployment_spec_replicas{namespace="shop",deployment="chat"} 2
kube_deployment_status_replicas_ready{namespace="shop",deployment="chat"} 2
kube_resourcequota{namespace="shop",resourcequota="gpus",type="hard",resource="requests.nvidia.com/gpu"} 8
node_netstat_Tcp_OutSegs{job="node",instance="10.0.0.1:9100"} {N}
process_open_fds{job="shop/chat",instance="10.0.0.2:8080"} 10
process_max_fds{job="shop/chat",instance="10.0.0.2:8080"} 100
service_tier_info{service_name="chat",service_namespace="shop",tier="gold"} 1
kube_node_info{node="node-1"} 1
"""  # noqa: E501
LINES = PAGE.strip().splitlines()


class Server(Protocol):
    """What the fixture `own_prometheus` gives."""

    url: str

    def write(self, batches: list[SampleBatch]) -> None: ...


def batches(clusters: Sequence[str], lines: Sequence[str] = LINES, label: str = "cluster") -> list[SampleBatch]:
    """The page at each point of time in each cluster."""
    made = []
    for point in range(POINTS):
        text = "\n".join(lines).replace("{N}", str(2 * point))
        samples = [
            Sample(
                sample.metric, tuple(sorted((*sample.labels, *([(label, cluster)] if cluster else [])))), sample.value
            )
            for cluster in clusters
            for sample in parse(text, {})
        ]
        made.append(SampleBatch(START + point * STEP, "test", tuple(samples)))
    return made


def world(source: MetricSource) -> World:
    """The World of everything in a source."""
    metrics, end = ClusterSource(source), START + (POINTS - 1) * STEP
    metrics.look(end, POINTS * STEP)
    readings, _ = fetch_catalog(metrics, catalog(59.0), START, end, STEP)
    return build_world(QuantileReducer()(readings), STEP)


def assert_same(one: object, other: object, prefix: str) -> None:
    """All of two Worlds is equal once the names of one lack a prefix."""
    assert is_dataclass(one)
    for item in fields(one):
        left, right = getattr(one, item.name), getattr(other, item.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, err_msg=item.name)
        elif is_dataclass(left):
            assert_same(left, right, prefix)
        elif item.name not in ("collected", "change_tracked", "season"):
            assert repr(left) == repr(right).replace(prefix, ""), item.name


Opened = Callable[[], Store]


@pytest.fixture
def new_store(tmp_path: Path) -> Opened:
    """Makes empty stores."""
    numbers = iter(range(1000))
    return lambda: Store.open(tmp_path / str(next(numbers)), now=lambda: START)


def loaded(new_store: Opened, made: list[SampleBatch]) -> Store:
    """A store with samples."""
    store = new_store()
    store.append_samples(made)
    return store


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left_out=st.sets(st.sampled_from(LINES[3:]), max_size=12))
def test_a_second_cluster_with_the_same_names_changes_nothing_of_the_first(
    new_store: Opened, left_out: set[str]
) -> None:
    lines = [line for line in LINES if line not in left_out]
    alone, both = loaded(new_store, batches(["eu"], lines)), loaded(new_store, batches(["eu", "us"], lines))
    try:
        single, fleet = world(alone), world(both)
        for cluster in ("eu", "us"):
            assert_same(single, world_of(fleet, {cluster}), f"{cluster}//")
        assert all(edge.client.cluster == edge.server.cluster for edge in fleet.edges)
        assert all(tenant.service.cluster == tenant.gpu.host.partition("//")[0] for tenant in fleet.tenants)
    finally:
        alone.close()
        both.close()


@pytest.mark.parametrize("clusters", [[""], ["eu"], ["", "eu"]], ids=str)
def test_one_cluster_or_none_is_read_as_without_the_label(new_store: Opened, clusters: list[str]) -> None:
    store, plain = loaded(new_store, batches(clusters)), loaded(new_store, batches([""]))
    try:
        assert world(store).services == world(plain).services
        assert clusters_of(Snapshot(1, world(store), (), None)) == ()  # type: ignore[arg-type]  # not read
    finally:
        store.close()
        plain.close()


@pytest.mark.slow
def test_a_real_prometheus_keeps_clusters_apart_and_finds_one_by_its_name(own_prometheus: Server) -> None:
    own_prometheus.write(batches(["eu"]))
    own_prometheus.write(batches(["us"], label="k8s_cluster_name"))
    source = PrometheusSource(own_prometheus.url)
    try:
        fleet = world(source)
        assert clusters_of(Snapshot(1, fleet, (), None)) == ("eu", "us")  # type: ignore[arg-type]  # not read
        assert {gpu.host for gpu in fleet.gpus} == {"eu//node-1", "us//node-1"}
        metrics, end = ClusterSource(source), START + (POINTS - 1) * STEP
        metrics.look(end, POINTS * STEP)
        one = Query("gpu_info", (Matcher("instance", "=", "us//10.0.0.1:10877"),), ("instance", "uuid"))
        (labels,) = metrics.fetch(one, end, end, 1.0).labels
        assert dict(labels)["instance"] == "us//10.0.0.1:10877"
    finally:
        source.close()


def test_a_call_between_clusters_joins_their_services(new_store: Opened) -> None:
    call = (
        'traces_service_graph_request_total{client="chat",client_service_namespace="shop",server="llm",'
        'client_k8s_cluster_name="eu",server_k8s_cluster_name="us"} {N}'
    )
    store = loaded(new_store, [*batches(["eu", "us"], LINES[:6]), *batches(["central"], [call])])
    try:
        (edge,) = world(store).edges
        assert edge[:2] == (Service.parse("eu//shop/chat"), Service.parse("us//llm"))
    finally:
        store.close()


def test_the_cluster_of_the_workload_wins_over_that_of_a_central_collector(new_store: Opened) -> None:
    spans = [line for line in LINES if line.startswith("traces_span")]
    of_workload = [
        batches(["central"], [line.replace("{s", f'{{k8s_cluster_name="{cluster}",s', 1) for line in spans])
        for cluster in ("eu", "us")
    ]
    store = loaded(new_store, [*batches(["eu", "us"], LINES[:8]), *of_workload[0], *of_workload[1]])
    try:
        fleet = world(store)
        assert sorted(map(str, fleet.services)) == [
            *("eu//batch", "eu//llm", "eu//shop/chat"),
            *("us//batch", "us//llm", "us//shop/chat"),
        ]
    finally:
        store.close()


@pytest.mark.parametrize(
    ("source", "destination", "called"),
    [
        pytest.param("Kubernetes", "Kubernetes", "eu//shop/chat", id="the default name of Istio"),
        pytest.param("eu", "unknown", "eu//shop/chat", id="outside of the mesh"),
        pytest.param("eu", "us", "us//shop/chat", id="another cluster"),
    ],
)
def test_a_side_of_a_call_is_in_the_cluster_of_its_series_unless_it_names_another(
    new_store: Opened, source: str, destination: str, called: str
) -> None:
    call = (
        'istio_requests_total{source_workload="front",source_workload_namespace="shop",destination_workload="chat",'
        'destination_workload_namespace="shop",destination_service_name="chat",destination_service_namespace="shop",'
        f'source_cluster="{source}",destination_cluster="{destination}",reporter="source",response_code="200"}} {{N}}'
    )
    store = loaded(new_store, [*batches(["eu", "us"], LINES[:6]), *batches(["eu"], [call])])
    try:
        (edge,) = world(store).edges
        assert edge[:2] == (Service.parse("eu//shop/front"), Service.parse(called))
    finally:
        store.close()


def test_equal_labels_of_an_answer_are_one_object_also_with_names_of_clusters(new_store: Opened) -> None:
    """Otherwise their comparison takes most of an evaluation, and their copies most of its memory."""
    span = 'traces_span_metrics_calls_total{service_name="chat",service_namespace="shop",span_name="%d"} {N}'
    store = loaded(new_store, batches(["eu", "us"], [span % number for number in range(3)]))
    try:
        metrics, end = ClusterSource(store), START + (POINTS - 1) * STEP
        metrics.look(end, POINTS * STEP)
        query = Query("traces_span_metrics_calls_total", by=("service_name", "service_namespace", "span_name"))
        pairs = [pair for labels in metrics.fetch(query, end, end, STEP).labels for pair in labels]
        assert pairs.count(("service_namespace", "eu//shop")) == 3
        assert len({*map(id, pairs)}) == len({*pairs})
    finally:
        store.close()


@pytest.mark.parametrize(
    ("error", "found", "logged"),
    [
        pytest.param(LimitError("too many samples"), {"eu"}, 1, id="one metric is too large"),
        pytest.param(SourceError("no connection"), set(), 0, id="no connection"),
    ],
)
def test_a_look_that_fails_stops_nothing_and_is_repeated_a_minute_later(
    new_store: Opened, caplog: pytest.LogCaptureFixture, error: SourceError, found: set[str], logged: int
) -> None:
    store = loaded(new_store, batches(["eu"]))
    metrics, end = ClusterSource(store), START + (POINTS - 1) * STEP
    fetch = store.fetch
    try:
        with pytest.MonkeyPatch.context() as patch:
            answers = Mock(side_effect=[error, *[fetch] * 9])
            patch.setattr(store, "fetch", lambda *asked: answers(*asked)(*asked))
            assert not metrics.look(end, POINTS * STEP)
        assert metrics.clusters == found
        assert not metrics.look(end + DETECTION_SECONDS - 1, POINTS * STEP + DETECTION_SECONDS)
        assert metrics.clusters == found
        metrics.look(end + DETECTION_SECONDS, POINTS * STEP + DETECTION_SECONDS)
        assert metrics.clusters == {"eu"}
    finally:
        store.close()
    messages = [message for message in caplog.messages if "clusters" in message]
    assert messages == [f"clusters may be missing: {error}"] * logged


@pytest.mark.parametrize("others", [[], ["prod", "eu"]], ids=["no cluster", "several"])
def test_a_sender_cannot_make_up_a_cluster(new_store: Opened, others: list[str]) -> None:
    labels = 'service_name="dns",service_namespace="prod//%s",span_kind="SPAN_KIND_SERVER"'
    span = f"traces_span_metrics_calls_total{{{labels}}} {{N}}"
    store = loaded(new_store, [*batches(others, LINES[:2]), *batches([""], [span % "system", span % "//system"])])
    try:
        assert world(store).services == (Service("prod/system", "dns"),)
    finally:
        store.close()


@pytest.mark.parametrize("name", ["eu//shop/chat", "eu//chat", "arn:aws:eks:x:cluster/eu//shop/chat", "shop/chat", "x"])
def test_the_name_of_a_service_is_read_as_it_is_written(name: str) -> None:
    service = Service.parse(name)
    assert str(service) == name
    assert service.cluster == name.rpartition("//")[0]
    assert str(service.local) == name.rpartition("//")[2]


def test_spans_that_the_hub_receives_join_the_gpus_of_their_cluster(new_store: Opened) -> None:
    """The targets have the label `cluster`, the spans the attribute `k8s.cluster.name`."""
    metrics = SpanMetrics()
    store = loaded(new_store, batches(["eu", "us"], LINES[:8]))
    try:
        for point in range(POINTS):
            at = START + point * STEP
            for number, cluster in enumerate(("eu", "us", "us")):
                metrics.add([request(cluster, at - 1, 10 * point + number)], at)
            store.append_samples([SampleBatch(at, "foreshock", metrics.collect(at))])
        fleet = world(store)
        assert {str(tenant.service) for tenant in fleet.tenants} >= {"eu//shop/chat", "us//shop/chat"}
        rates = dict(zip(map(str, fleet.services), fleet.red.rate[:, -1].tolist(), strict=True))
        assert (rates["eu//shop/chat"], rates["us//shop/chat"]) == (pytest.approx(0.1), pytest.approx(0.2))
        assert [(str(edge.client), str(edge.server)) for edge in fleet.edges] == [
            ("eu//user", "eu//shop/chat"),
            ("us//user", "us//shop/chat"),
        ]
    finally:
        store.close()


def request(cluster: str, end: float, number: int) -> Span:
    """A request to shop/chat."""
    nanoseconds = int(end * 1e9)
    return Span(
        trace_id=f"{number + 1:032x}",
        span_id=f"{1:016x}",
        parent_id="",
        name="POST /chat",
        kind="server",
        start_ns=nanoseconds - 10**8,
        end_ns=nanoseconds,
        status="unset",
        status_message="",
        resource={"service.name": "chat", "service.namespace": "shop", "k8s.cluster.name": cluster},
        attributes={},
    )
