"""Scrape targets from Prometheus' groups and labels: URL, labels of the series, and refusals."""

from __future__ import annotations

import json

import pytest

from foreshock_dashboard.sources.prometheus.target import ScrapeTarget, scrape_target, target_groups
from foreshock_dashboard.sources.prometheus.text_format import parse

FILE = """[
  {"targets": ["gpu-1:8000", "gpu-2:8000"], "labels": {"service_name": "model", "service_namespace": "bed"}},
  {"targets": ["gpu-3:9400"]}
]"""


def test_each_address_of_a_group_gets_the_labels_of_the_group() -> None:
    """As in a file that Prometheus discovers targets in."""
    first, second, third = (labels for group in target_groups(json.loads(FILE)) for labels in group.labels_by_target())
    service = {"service_name": "model", "service_namespace": "bed"}
    assert first == {"__address__": "gpu-1:8000", **service}
    assert second == {"__address__": "gpu-2:8000", **service}
    assert third == {"__address__": "gpu-3:9400"}


def test_the_labels_of_a_target_reach_each_of_its_series() -> None:
    """A label that the page exposes under the same name is kept as `exported_…`."""
    target = scrape_target({"__address__": "gpu-1:8000", "service_name": "model"}, job="vllm")
    (sample,) = parse('vllm:num_requests_running{model_name="bed-7b",service_name="own"} 3', target.target_labels)
    assert dict(sample.labels) == {
        "exported_service_name": "own",
        "instance": "gpu-1:8000",
        "job": "vllm",
        "model_name": "bed-7b",
        "service_name": "model",
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"__address__": "h:1"}, ScrapeTarget("http://h:1/metrics", "job")),
        (
            {"__address__": "h:1", "__scheme__": "https", "__metrics_path__": "/m"},
            ScrapeTarget("https://h:1/m", "job"),
        ),
        (
            {"__address__": "h:1", "__param_module": "a b", "__param_x": "1"},
            ScrapeTarget("http://h:1/metrics?module=a+b&x=1", "job"),
        ),
        (
            {"__address__": "h:1", "job": "vllm", "instance": "seven", "__meta_x": "y", "empty": ""},
            ScrapeTarget("http://h:1/metrics", "vllm", {"instance": "seven"}),
        ),
    ],
)
def test_labels_after_relabeling_make_the_target(labels: dict[str, str], expected: ScrapeTarget) -> None:
    """Labels that start with `__` make the URL or are dropped, and empty ones are absent."""
    assert scrape_target(labels, job="job") == expected


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"targets": []}, "groups: .*list"),
        ([{"labels": {}}], r"groups\[0\].targets: .*required"),
        ([{"targets": ["h:1"]}, {"targets": [8000]}], r"groups\[1\].targets\[0\]: .*string"),
        ([{"targets": ["h:1"], "labels": {"port": 1}}], r"groups\[0\].labels.port: .*string"),
        ([{"targets": ["h:1"], "labels": {"a-b": "1"}}], r"groups\[0\].labels.a-b.*: .*pattern"),
        ([{"targets": ["h:1"], "job": "x"}], r"groups\[0\].job: .*"),
    ],
)
def test_another_form_is_refused_with_its_place(groups: object, message: str) -> None:
    """The message shows the right form, too."""
    with pytest.raises(ValueError, match=f"{message}.*; write "):
        target_groups(groups)


def test_labels_without_an_address_make_no_target() -> None:
    """Relabeling may have removed it."""
    with pytest.raises(ValueError, match="use http://HOST:PORT/metrics"):
        scrape_target({"service_name": "model"}, job="vllm")
