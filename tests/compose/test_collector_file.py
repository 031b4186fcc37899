"""The Collector's configuration: whole in itself, of documented names, and with the hub's own metrics in view."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from foreshock_dashboard.ingest.service_graph import call_sides
from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.span import EXPORTER_NAME, Kind, Span
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.calls import EDGE_LABELS
from foreshock_dashboard.world.row import SERVICE_LABELS

Yaml = dict[str, Any]
SECTIONS = ("extensions", "receivers", "processors", "connectors", "exporters")
# Keys of each component after its README and configuration schema; nested ones with dots.
KEYS = {
    "health_check": {"endpoint"},
    "otlp": {"protocols.grpc.endpoint", "protocols.http.endpoint"},
    "filter": {"error_mode", "traces.span"},
    "memory_limiter": {"check_interval", "limit_percentage", "spike_limit_percentage"},
    "tail_sampling": {
        "decision_wait", "num_traces", "decision_cache.sampled_cache_size", "decision_cache.non_sampled_cache_size",
        "policies",
    },
    "span_metrics": {
        "namespace", "histogram.unit", "histogram.explicit.buckets", "dimensions", "resource_metrics_key_attributes",
        "aggregation_cardinality_limit", "exemplars.enabled", "metrics_flush_interval", "metrics_expiration",
    },
    "service_graph": {
        "latency_histogram_buckets", "dimensions", "store.ttl", "store.max_items", "store_expiration_loop",
        "metrics_flush_interval", "virtual_node_peer_attributes", "database_name_attributes",
    },
    "otlp_grpc": {"endpoint", "tls.insecure", "sending_queue.enabled", "sending_queue.batch"},
    "prometheus": {"endpoint", "metric_expiration", "enable_open_metrics"},
}  # fmt: skip
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


@pytest.fixture(scope="module")
def config() -> Yaml:
    """compose/collector.yaml."""
    text = (Path(__file__).parents[2] / "compose/collector.yaml").read_text()
    loaded: Yaml = yaml.safe_load(text)
    return loaded


def seconds(text: str) -> float:
    """A duration of Go with one unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", text)
    assert match, text
    return round(float(match[1]) * UNITS[match[2]], 6)


def leaves(value: Any, path: str = "") -> set[str]:  # noqa: ANN401 - YAML
    """The keys of everything that is set, nested ones with dots."""
    if not isinstance(value, dict) or not value:
        return {path}
    return {leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}" if path else key)}


def test_every_component_that_a_pipeline_names_is_defined_and_every_one_defined_is_used(config: Yaml) -> None:
    """A connector is an exporter of one pipeline and a receiver of another."""
    defined = {section: set(config[section]) for section in SECTIONS}
    pipelines = config["service"]["pipelines"]
    used: dict[str, set[str]] = {
        part: {name for pipeline in pipelines.values() for name in pipeline[part]}
        for part in ("receivers", "processors", "exporters")
    }
    connectors = defined["connectors"]
    assert used["receivers"] == defined["receivers"] | connectors
    assert used["exporters"] == defined["exporters"] | connectors
    assert used["processors"] == defined["processors"]
    assert set(config["service"]["extensions"]) == defined["extensions"]
    assert set(config) == {*SECTIONS, "service"}


def test_connectors_stand_between_traces_and_metrics(config: Yaml) -> None:
    """And memory is limited first."""
    pipelines = config["service"]["pipelines"]
    for name in config["connectors"]:
        assert [each for each in pipelines if name in pipelines[each]["exporters"]] in (["traces"], ["traces/requests"])
        assert name in pipelines["metrics"]["receivers"]
    assert all(pipeline["processors"][0] == "memory_limiter" for pipeline in pipelines.values())


def test_what_is_counted_is_counted_before_anything_is_left_out(config: Yaml) -> None:
    """Only Tempo gets a sample; rates and graphs of one would be those of the sample."""
    pipelines = config["service"]["pipelines"]
    sampled = {name for name, pipeline in pipelines.items() if "tail_sampling" in pipeline["processors"]}
    assert sampled == {"traces/sampled"}
    assert pipelines["traces/sampled"]["exporters"] == ["otlp_grpc/tempo"]
    assert [name for name, each in pipelines.items() if "otlp_grpc/tempo" in each["exporters"]] == ["traces/sampled"]


def test_what_is_worth_a_look_is_kept(config: Yaml) -> None:
    """Failures, slow traces, retries by the hub's own attribute, and the occupancy of GPUs."""
    policies = {each["name"]: each for each in config["processors"]["tail_sampling"]["policies"]}
    assert all(set(each) == {"name", "type", each["type"]} for each in policies.values())
    assert policies["failed"]["status_code"]["status_codes"] == ["ERROR"]
    assert policies["retried"]["numeric_attribute"]["key"] in call_sides._RESENDS
    assert policies["occupancy"]["string_attribute"] == {"key": "service.name", "values": [EXPORTER_NAME]}
    assert 0 < policies["rest"]["probabilistic"]["sampling_percentage"] < 100
    # A trace is judged when it is likely to be whole, and while it is still remembered.
    sampling, graph = config["processors"]["tail_sampling"], config["connectors"]["service_graph"]
    assert 10.0 <= seconds(sampling["decision_wait"]) <= seconds(graph["store"]["ttl"])


def test_every_key_is_a_documented_one(config: Yaml) -> None:
    """A misspelt key keeps a Collector from starting."""
    for section in SECTIONS:
        for name, settings in config[section].items():
            assert leaves(settings) <= KEYS[name.partition("/")[0]], name


@pytest.mark.parametrize("kind", get_args(Kind))
def test_span_metrics_are_of_the_spans_that_the_hub_counts(config: Yaml, kind: Kind) -> None:
    """INTERNAL ones are steps of requests, and GPU occupancy is of that kind. The hub and the graph get all."""
    metrics = SpanMetrics()
    metrics.add([Span("1" * 32, "2" * 16, "", "x", kind, 0, 1, "unset", "", {"service.name": "a"}, {})], 0.0)
    counted = any(sample.metric == names.CALLS.name for sample in metrics.collect(0.0))
    pipelines = config["service"]["pipelines"]
    (of_metrics,) = (each for each in pipelines.values() if "span_metrics" in each["exporters"])
    dropped = [
        condition
        for name in of_metrics["processors"]
        if name.startswith("filter/")
        for condition in config["processors"][name]["traces"]["span"]
    ]
    assert (f"kind == SPAN_KIND_{kind.upper()}" not in dropped) == counted
    assert "kind == SPAN_KIND_UNSPECIFIED" in dropped, "the hub reads it as INTERNAL"
    assert pipelines["traces"]["processors"] == ["memory_limiter"]


def test_a_callee_without_spans_is_named_by_the_attributes_that_the_hub_takes_and_in_its_order(config: Yaml) -> None:
    """What the connector can read of it: of each two that one span may have, the first one names the node."""
    order = config["connectors"]["service_graph"]["virtual_node_peer_attributes"]
    for first, second in combinations(order, 2):
        if first.startswith("gen_ai.") and second.startswith("db."):
            continue  # a call is to a model or to a database
        graph = ServiceGraph(1.0, 10)
        attributes = {first: "first", second: "second"}
        client = Span("1" * 32, "2" * 16, "", "x", "client", 0, 1, "unset", "", {"service.name": "a"}, attributes)
        graph.add(client, 0.0)
        graph.expire(1.0)
        (found,) = graph.take().increments
        assert found.edge.server.name == "first", (first, second)


def test_buckets_are_the_hubs(config: Yaml) -> None:
    """So that a quantile is the same from either."""
    connectors = config["connectors"]
    for buckets in (
        connectors["span_metrics"]["histogram"]["explicit"]["buckets"],
        connectors["service_graph"]["latency_histogram_buckets"],
    ):
        assert tuple(map(seconds, buckets)) == BUCKET_BOUNDS


def test_the_names_that_come_out_are_those_that_the_hub_reads(config: Yaml) -> None:
    """OpenTelemetry's dots become underscores, counters end in _total, seconds in _seconds."""
    connector = config["connectors"]["span_metrics"]
    prefix = connector["namespace"].replace(".", "_")
    assert connector["histogram"]["unit"] == "s"
    read = catalog(59.0)
    assert read["served"].ways[0].query.metric == f"{prefix}_calls_total"
    assert read["served_seconds"].ways[0].query.metric == f"{prefix}_duration_seconds"
    assert read["served_seconds"].ways[1].query.metric == f"{prefix}_duration_milliseconds"
    assert {item["name"].replace(".", "_") for item in connector["dimensions"]} | {"service_name"} == set(
        SERVICE_LABELS
    )


def test_labels_are_those_that_the_hub_sums_by(config: Yaml) -> None:
    """Namespaces with the side that they are of; the hub's own families have no others."""
    sides = {f"{side}_{name.replace('.', '_')}" for side in ("client", "server")
             for name in config["connectors"]["service_graph"]["dimensions"]}  # fmt: skip
    assert sides | {"client", "server", "connection_type"} == set(EDGE_LABELS)
    assert names.REQUESTS.name == "traces_service_graph_request_total"


def test_series_of_what_is_gone_end_when_the_hubs_do_and_are_flushed_as_often_as_scraped(config: Yaml) -> None:
    """Or a counter would stay constant for ever, and rates would see steps."""
    connectors = config["connectors"]
    assert connectors["span_metrics"]["metrics_expiration"] == config["exporters"]["prometheus"]["metric_expiration"]
    assert {seconds(each["metrics_flush_interval"]) for each in connectors.values()} == {10.0}
