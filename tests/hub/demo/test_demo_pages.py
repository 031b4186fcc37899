"""Model servers and the cluster of the demo are scraped as real ones are."""

from __future__ import annotations

from urllib.request import urlopen

import pytest

from foreshock_dashboard.simulated.endpoints import POD_LABEL, merge_pages, serve_pages
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample


def test_servers_on_one_page_are_distinguished_by_their_pod() -> None:
    """Also where two hosts gave it the same number; each family once, histograms as well."""
    gauge = Family("vllm:num_requests_waiting", "gauge", ("service_name",), "Waiting.")
    seconds = Family("vllm:e2e_request_latency_seconds", "histogram", ("service_name",), "Took.", (1.0,))
    pages: dict[str, Families] = {
        f"chat-1.host-{number}:8000": [
            (gauge, [Sample(("chat",), float(number))]),
            (seconds, [HistogramSample(("chat",), (number, 0), 0.5)]),
        ]
        for number in (1, 2)
    }
    text = render(merge_pages(pages)).decode()
    found = {(sample.metric, *sample.labels): sample.value for sample in parse(text, {})}
    name = ("service_name", "chat")
    assert found["vllm:num_requests_waiting", (POD_LABEL, "chat-1.host-1"), name] == 1.0
    assert found["vllm:num_requests_waiting", (POD_LABEL, "chat-1.host-2"), name] == 2.0
    assert found["vllm:e2e_request_latency_seconds_count", (POD_LABEL, "chat-1.host-2"), name] == 2.0
    assert text.count("# TYPE") == 2


def test_pages_are_served_by_path_and_nothing_else_is() -> None:
    """Until the block ends."""
    with serve_pages({"/cluster": lambda: b"up 1\n"}) as url:
        with urlopen(f"{url}/cluster") as answer:
            assert answer.read() == b"up 1\n"
        with pytest.raises(OSError, match="404"):
            urlopen(f"{url}/else")
