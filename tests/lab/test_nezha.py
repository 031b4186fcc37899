"""The converter of the Nezha data set: labeled recordings from files like its own."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_evaluation.explanations.incident import labeled_recordings, read_incident
from foreshock_lab.convert import nezha

DAY, HEAD = "2022-08-22", (
    "Time,TimeStamp,PodName,CpuUsage(m),CpuUsageRate(%),MemoryUsage(Mi),MemoryUsageRate(%),SyscallRead,SyscallWrite,"
    "NetworkReceiveBytes,NetworkTransmitBytes,PodClientLatencyP90(s),PodServerLatencyP90(s),PodClientLatencyP95(s),"
    "PodServerLatencyP95(s),PodClientLatencyP99(s),PodServerLatencyP99(s),PodWorkload(Ops),PodSuccessRate(%),"
    "NodeCpuUsageRate(%),NodeMemoryUsageRate(%),NodeNetworkReceiveBytes"
)  # fmt: skip
FRONT, CART = "frontend-579b9bff58-t2dbm", "cartservice-579f59597d-wc2lz"
NOON = 1_661_169_600
"""2022-08-22 12:00:00 UTC."""
ONSET = NOON + 600


def row(minute: int, pod: str) -> str:
    """A row of a pod's metrics: 5 of 20 millicores and 2 operations per second."""
    time = f"{DAY} 12:{minute:02}:00.500000000 +0000 UTC m=+0.1"
    return f"{time},{NOON + minute * 60},{pod},5,25,10,50,0,0,600,1200,.1,.1,.2,.2,.3,.3,2,0,3,11,9"


def trace(number: int) -> list[str]:
    """A request of the front service in minute 10, which calls the cart; the cart queries a database."""
    start = (ONSET + number) * 10**9
    spans = [
        ("a1", "root", FRONT, "Recv.", 0, 100_000_000),
        ("a2", "a1", FRONT, "CartService/GetCart", 10_000_000, 90_000_000),
        ("a3", "a2", CART, "CartService/GetCart", 30_000_000, 70_000_000),
        ("a4", "a3", CART, "SELECT carts", 40_000_000, 50_000_000),
        ("a5", "a3", CART, "CartService/parse", 50_000_000, 51_000_000),
    ]
    return [
        f"{number:032x},{number:014x}{span},{'root' if parent == 'root' else f'{number:014x}{parent}'},{pod},{name},"
        f"{start + begin},{start + end},{(end - begin) // 1000}"
        for span, parent, pod, name, begin, end in spans
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A day with 20 minutes of metrics, a fault of the cart in minute 10, and traces of that minute."""
    folder = tmp_path / "source" / "rca_data" / DAY
    (folder / "metric").mkdir(parents=True)
    (folder / "trace").mkdir()
    fault = {"inject_timestamp": str(ONSET), "inject_pod": CART, "inject_type": "network_delay"}
    (folder / f"{DAY}-fault_list.json").write_bytes(orjson.dumps({"12": [fault]}))
    for pod in (FRONT, CART):
        text = "\n".join([HEAD, *(row(minute, pod) for minute in range(20))])
        (folder / "metric" / f"{pod}_metric.csv").write_text(text)
    head = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration"
    lines = "\n".join([head, *(line for number in range(60) for line in trace(number))])
    (folder / "trace" / "12_10_trace.csv.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path / "source"


def test_each_fault_becomes_a_labeled_recording_of_traces_metrics_and_both(source: Path, tmp_path: Path) -> None:
    """The truth names service, kind, and time; pods are services without their suffix."""
    nezha.main([str(source), str(tmp_path / "out")])
    folders = [*labeled_recordings(tmp_path / "out")]
    assert [folder.parent.name for folder in folders] == ["both", "metrics", "traces"]
    for incident in map(read_incident, folders):
        assert incident.root_causes == {Service("", "cartservice")}
        assert (incident.kind, incident.onset, incident.asked) == ("network_delay", ONSET, Service("", "frontend"))


def test_rates_become_counters_under_the_names_of_exporters(source: Path, tmp_path: Path) -> None:
    """A quarter of the limit of 20 millicores, and 600 bytes a second, for a minute a row."""
    nezha.main([str(source), str(tmp_path / "out")])
    increases = {
        "container_cpu_usage_seconds_total": 0.3,
        "container_network_receive_bytes_total": 36_000.0,
        "http_server_request_duration_seconds_count": 120.0,
    }
    with Recording(next(labeled_recordings(tmp_path / "out" / "ob" / "metrics"))) as recording:
        for metric, expected in increases.items():
            (series,) = (
                series for series in recording.series if series.metric == metric and dict(series.labels)["pod"] == FRONT
            )
            values = recording.rows(series.first, series.last)[1]
            assert (values[1:] - values[:-1]).tolist() == pytest.approx([expected] * (len(values) - 1))


def test_kinds_of_spans_follow_from_their_pods(source: Path, tmp_path: Path) -> None:
    """A span under one of another pod is a server's, that one a client's, and SQL a call of a database."""
    nezha.main([str(source), str(tmp_path / "out")])
    with Recording(next(labeled_recordings(tmp_path / "out" / "ob" / "traces"))) as recording:
        spans = [span for batch in recording.spans() for span in batch]
        kinds = {span.span_id[-2:]: span.kind for span in spans}
        assert kinds == {"a1": "server", "a2": "client", "a3": "server", "a4": "client", "a5": "internal"}
        edges = {
            (labels["client"], labels["server"])
            for series in recording.series
            if series.metric == "traces_service_graph_request_total"
            for labels in (dict(series.labels),)
        }
        assert edges == {("user", "frontend"), ("frontend", "cartservice"), ("cartservice", "mysql")}
        assert "traces_span_metrics_calls_total" in RecordedMetrics(recording).metric_names()
