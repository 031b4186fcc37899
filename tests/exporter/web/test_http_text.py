"""The text format and OpenMetrics, compared through their parsers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from foreshock_exporter.exposition import text_format as text_module
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

EXPECTED = """\
# HELP gpu_busy_seconds Seconds a \\"kernel\\" ran.
# TYPE gpu_busy_seconds counter
# UNIT gpu_busy_seconds seconds
gpu_busy_seconds_total{gpu="0"} 1.5
gpu_busy_seconds_total{gpu="1"} 2.0
# HELP gpu_utilization_sample_ratio Fast samples by share.
# TYPE gpu_utilization_sample_ratio histogram
# UNIT gpu_utilization_sample_ratio ratio
gpu_utilization_sample_ratio_bucket{gpu="0",le="0.0"} 1
gpu_utilization_sample_ratio_bucket{gpu="0",le="0.5"} 3
gpu_utilization_sample_ratio_bucket{gpu="0",le="1.0"} 3
gpu_utilization_sample_ratio_bucket{gpu="0",le="+Inf"} 6
gpu_utilization_sample_ratio_sum{gpu="0"} 4.25
gpu_utilization_sample_ratio_count{gpu="0"} 6
# HELP gpu_info What the GPU is; always 1.
# TYPE gpu_info gauge
gpu_info{gpu="0",model="H100 \\"SXM\\"\\\\"} 1.0
# HELP node_netstat_Tcp_RetransSegs Segments sent again.
# TYPE node_netstat_Tcp_RetransSegs unknown
node_netstat_Tcp_RetransSegs 12.0
# HELP node_network_up 1 if up.
# TYPE node_network_up gauge
node_network_up{device="eth0"} 1.0
# EOF
"""


def of_text(text: bytes) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_families(text.decode())
        for sample in family.samples
    }


def of_openmetrics(text: bytes) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics_families(text.decode())  # type: ignore[no-untyped-call]  # prometheus_client has no type
        for sample in family.samples
    }


def everything() -> Families:
    """Each family of the exporter with two samples."""
    found: list[tuple[Family, list[Sample] | list[HistogramSample]]] = []
    for family in (*metrics.FAMILIES, *host_metrics.FAMILIES):
        labels = [tuple(f"{name}-{number}" for name in family.labels) for number in range(2 if family.labels else 1)]
        if family.kind == "histogram":
            counts = tuple(range(len(family.bounds) + 1))
            found.append((family, [HistogramSample(values, counts, 1.25) for values in labels]))
        else:
            found.append((family, [Sample(values, 1.0) for values in labels]))
    return found


def test_openmetrics_is_written_as_the_standard_has_it(exposition: Families) -> None:
    assert render(exposition, openmetrics=True).decode() == EXPECTED


def test_both_formats_give_the_same_series_of_every_family() -> None:
    exposition = everything()
    found = of_text(render(exposition))
    assert found == of_openmetrics(render(exposition, openmetrics=True))
    assert len(found) > 100


def test_openmetrics_has_the_unit_of_the_name() -> None:
    lines = render(everything(), True).decode().splitlines()
    units = dict(line.split()[2:] for line in lines if line.startswith("# UNIT"))
    assert units["gpu_service_busy_seconds"] == "seconds"
    assert units["gpu_memory_total_bytes"] == "bytes"
    assert "gpu_info" not in units
    speed = Family("node_network_speed_bytes", "gauge", ("device",), "Bytes a second.")
    assert b"UNIT" not in render([(speed, [Sample(("eth0",), 1.0)])], openmetrics=True)


def test_every_type_is_one_that_its_format_knows() -> None:
    """Prometheus refuses a whole scrape in OpenMetrics for the word untyped; prometheus_client reads over it."""
    for openmetrics, untyped in ((False, "untyped"), (True, "unknown")):
        lines = render(everything(), openmetrics).decode().splitlines()
        types = {line.rpartition(" ")[2] for line in lines if line.startswith("# TYPE")}
        assert types == {"counter", "gauge", "histogram", untyped}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_families_without_samples_are_left_out(openmetrics: bool) -> None:
    assert render([(metrics.FAMILIES[0], [])], openmetrics) == (b"# EOF\n" if openmetrics else b"")


@given(st.lists(st.tuples(st.text(), st.floats()), unique_by=lambda pair: pair[0], max_size=5), st.text())
def test_any_label_help_and_value_survive_both_formats(samples: list[tuple[str, float]], help_text: str) -> None:
    family = Family("some_metric", "gauge", ("label",), help_text.strip().replace("\r", ""))
    exposition = [(family, [Sample((label,), value) for label, value in samples])]
    kept = {("some_metric", frozenset({("label", label)})): value for label, value in samples if not math.isnan(value)}
    assert of_text(render(exposition)) == kept
    if kept:
        assert of_openmetrics(render(exposition, openmetrics=True)) == kept


@given(st.lists(st.integers(0, 2**53 // 8), min_size=4, max_size=4), st.floats(0, 1e300))
def test_any_distribution_survives_both_formats(counts: list[int], total: float) -> None:
    family = Family("some_ratio", "histogram", ("gpu",), "Help.", (0.1, 0.5, 2.0))
    exposition = [(family, [HistogramSample(("0",), tuple(counts), total)])]
    found = of_text(render(exposition))
    assert found == of_openmetrics(render(exposition, openmetrics=True))
    assert found["some_ratio_count", frozenset({("gpu", "0")})] == sum(counts)
    assert found["some_ratio_sum", frozenset({("gpu", "0")})] == total


def test_services_that_come_and_go_do_not_fill_the_memory() -> None:
    family = Family("gpu_service_churn", "gauge", ("service_name",), "Help.")
    for number in range(2 * text_module.MAX_CACHED_LABEL_SETS + 1):
        assert f'"service-{number}"}} 1.0'.encode() in render([(family, [Sample((f"service-{number}",), 1.0)])])
        assert len(text_module._prefix_cache(family)) <= text_module.MAX_CACHED_LABEL_SETS


def test_labels_that_do_not_fit_the_family_are_a_bug_that_shows() -> None:
    with pytest.raises(ValueError):
        render([(Family("m", "gauge", ("a", "b"), "Help."), [Sample(("only one",), 1.0)])])
