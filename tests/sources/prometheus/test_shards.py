"""Shards of a real Prometheus: together they read every cluster once, each as a hub of all clusters sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import pytest
from tests.sources.prometheus.test_clusters import LINES, POINTS, START, STEP, Server, assert_same, batches

from foreshock_dashboard.model.query import LimitError, Matrix, MetricSource, Query, SourceError, grid
from foreshock_dashboard.model.world import World
from foreshock_dashboard.settings.settings import Settings, SettingsError, load_settings
from foreshock_dashboard.sources.cluster_selection import Selection
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.shard import Shard, shard_of
from foreshock_dashboard.web.state.one_cluster import world_of
from foreshock_dashboard.world.builder import build_world, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import fetch_catalog

CLUSTERS = ("eu-1", "us (old)", "ap/2")
CALL = (
    'traces_service_graph_request_total{client="chat",client_service_namespace="shop",server="llm",'
    'client_k8s_cluster_name="%s",server_cluster="%s"} {N}'
)
END = START + (POINTS - 1) * STEP


def world(source: MetricSource, shard: Shard | None = None) -> tuple[World, ClusterSource]:
    """What a hub sees of the source, or one of a shard."""
    metrics = ClusterSource(source, shard=shard)
    metrics.look(END, POINTS * STEP)
    readings, _ = fetch_catalog(metrics, catalog(59.0), START, END, STEP)
    return build_world(QuantileReducer()(readings), STEP), metrics


@pytest.mark.slow
def test_shards_divide_the_world_of_a_hub_of_all_clusters(own_prometheus: Server) -> None:
    """Also where the workload names the cluster. A call between clusters is seen from both sides."""
    own_prometheus.write(batches(CLUSTERS))
    own_prometheus.write(batches([""], [line for line in LINES if "tier" not in line]))  # it would be that of all
    spans = [line for line in LINES if line.startswith("traces_span")]
    own_prometheus.write(batches(["af"], spans, label="k8s_cluster_name"))
    own_prometheus.write(batches(["af"], [line for line in LINES if line not in spans]))
    with closing(PrometheusSource(own_prometheus.url)) as source:
        fleet, whole = world(source)
        for count in (1, 2, 5):
            seen = [world(source, Shard(number, count)) for number in range(1, count + 1)]
            assert sorted(name for _, metrics in seen for name in metrics.own) == sorted({*whole.clusters, ""})
            for part, metrics in seen:
                for cluster in filter(None, metrics.own):  # the filter has no name for those without a cluster
                    assert_same(world_of(part, {cluster}), world_of(fleet, {cluster}), "")
            for kind in ("gpus", "services", "edges", "tenants", "allocated"):
                parts = [repr(item) for part, _ in seen for item in getattr(part, kind)]
                assert sorted(parts) == sorted(map(repr, getattr(fleet, kind))), kind

        between = (("eu-1", "us (old)"), ("us (old)", "ap/2"), ("af", "af"), ("mars", "eu-1"), ("ap/2", "mars"))
        own_prometheus.write(batches(["central"], [CALL % pair for pair in between]))
        fleet, _ = world(source)
        calls = {edge for edge in fleet.edges if edge.client.cluster != edge.server.cluster}
        assert len(calls) == 4
        seen = [world(source, Shard(number, 5)) for number in range(1, 6)]
        for edge in fleet.edges:
            ends = {edge.client.cluster, edge.server.cluster}
            assert [edge in part.edges for part, _ in seen] == [not ends.isdisjoint(each.own) for _, each in seen], edge


@pytest.mark.parametrize("sides", [(), ("client", "server")], ids=["a series", "a call"])
def test_one_alternative_selects_each_series_of_the_shard_and_none_another(sides: tuple[str, ...]) -> None:
    """With two, the server reads a series twice. The workload's label counts first, then that of the scraper.

    A call may be missed if the two labels of a side name different clusters.
    """
    labels, known, own = ("k8s_cluster_name", "cluster"), ("eu", "us", "ap"), {"eu", ""}
    alternatives = Selection(labels, ("eu", ""), known).conditions(sides)
    prefixes = ("", *(f"{side}_" for side in sides))
    names = [prefix + label for prefix in prefixes for label in labels]
    for number in range(4 ** len(names)):
        values = {name: ("", "eu", "us", "mars")[number // 4**place % 4] for place, name in enumerate(names)}
        of_series, *of_sides = (next((v for at in labels if (v := values[p + at])), "") for p in prefixes)
        ends = {side if side in known else of_series for side in of_sides} or {of_series}
        met = sum(all(each.accepts(values[each.label]) for each in conditions) for conditions in alternatives)
        is_ambiguous = any(len({values[f"{side}_{label}"] for label in labels} - {""}) > 1 for side in sides)
        assert met == (not ends.isdisjoint(own)) or (is_ambiguous and met == 0), values


def test_the_shard_of_a_cluster_follows_from_its_name_and_the_number_of_shards() -> None:
    """It is the same on every machine; with one shard more, clusters move only to that one."""
    names = [f"cluster-{number}" for number in range(300)]
    before, after = ({name: shard_of(name, count, {}) for name in names} for count in (4, 5))
    assert [shard_of(name, 4, {}) for name in ("eu-1", "us-1", "")] == [1, 4, 1]
    assert all(after[name] in (before[name], 5) for name in names)
    assert all(40 <= list(after.values()).count(number) <= 80 for number in range(1, 6))
    fixed = Shard(2, 4, (("cluster-0", 2), ("cluster-1", 3)))
    assert (fixed.has("cluster-0"), fixed.has("cluster-1")) == (True, False)


def test_a_shard_that_cannot_look_for_its_clusters_fails_and_one_without_any_asks_nothing() -> None:
    """An empty answer would look as if all were well."""
    with closing(PrometheusSource("http://127.0.0.1:1")) as source:
        metrics = ClusterSource(source, shard=Shard(1, 2))
        for _ in range(2):
            with pytest.raises(SourceError, match="cannot be reached"):
                metrics.look(END, 60.0)
        others = [cluster for cluster in "abcdefgh" if shard_of(cluster, 2, {}) == 1]
        idle = ClusterSource(source, known=others, shard=Shard(2, 2, (("", 1),)))
        readings, _ = fetch_catalog(idle, catalog(59.0), START, END, STEP)
        assert not any(map(len, readings.values()))


class Refusing(PrometheusSource):
    """A Prometheus with two clusters that refuses one query for its size."""

    def __init__(self, refused: str, found: Mapping[str, str]) -> None:
        super().__init__("http://127.0.0.1:1")
        self._refused, self._found = refused, found

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        if query.metric == self._refused:
            raise LimitError("query processing would load too many samples")
        names = [self._found[query.metric]] if query.metric in self._found else []
        times = grid(start, end, step)
        return Matrix(times, tuple((("cluster", name),) for name in names), np.ones((len(names), len(times))))


REFUSED = "traces_spanmetrics_calls_total"


@pytest.mark.parametrize(
    ("refused", "found", "known"),
    [
        pytest.param(REFUSED, {"up": "eu"}, (), id="another query names it"),
        pytest.param("up", {"target_info": "eu"}, (), id="a later query names it"),
        pytest.param(REFUSED, {}, ("eu",), id="it was known before"),
    ],
)
def test_a_refused_look_stops_no_shard_that_knows_its_clusters(
    refused: str, found: Mapping[str, str], known: tuple[str, ...]
) -> None:
    """Limits are a reason for shards."""
    shard = Shard(1, 2, (("eu", 1), ("us", 2)))
    with closing(Refusing(refused, found)) as source:
        metrics = ClusterSource(source, known=known, shard=shard)
        metrics.look(END, 60.0)
        assert "eu" in metrics.own


def test_a_refused_look_stops_a_shard_that_knows_only_clusters_of_others() -> None:
    with closing(Refusing(REFUSED, {"up": "us"})) as source:
        metrics = ClusterSource(source, shard=Shard(1, 2, (("eu", 1), ("us", 2))))
        for _ in range(2):
            with pytest.raises(LimitError):
                metrics.look(END, 60.0)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        pytest.param({"shard": "1/2"}, "--prometheus-url", id="no Prometheus"),
        pytest.param({"shard": "3/2"}, "NUMBER/COUNT", id="not one of them"),
        pytest.param({"shard": "0/2"}, "NUMBER/COUNT", id="they begin at 1"),
        pytest.param({"shard_clusters": ("eu=1",)}, "Set --shard", id="clusters without shards"),
        pytest.param({"shard": "1/2", "shard_clusters": ("eu=3",)}, "eu=3 is not one of 2 shards", id="another shard"),
        pytest.param({"shard_clusters": ("eu=1,eu=2",)}, "assigned to two shards", id="twice"),
        pytest.param({"shard_clusters": ("eu",)}, "CLUSTER=NUMBER", id="no number"),
    ],
)
def test_options_of_a_shard_that_make_no_sense_are_refused(flags: dict[str, object], problem: str) -> None:
    more = {} if problem == "--prometheus-url" else {"prometheus_url": "http://prometheus:9090"}
    with pytest.raises(SettingsError, match=re.escape(problem)):
        load_settings({**flags, **more}, {})


def test_clusters_of_a_shard_are_read_from_its_options() -> None:
    flags = {"prometheus_url": "http://p:9090", "shard": "1/2", "shard_clusters": ("eu-1=1,us-1=2", "a=b=2")}
    settings: Settings = load_settings(flags, {})
    assert settings.shard == (1, 2)
    assert dict(settings.shard_clusters) == {"eu-1": 1, "us-1": 2, "a=b": 2}
