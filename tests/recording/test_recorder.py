"""A recording of a simulated platform equals the platform's exporters, spans and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Labels, is_stale
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.simulated.recorder import Recorder, ScrapeConfig, to_span
from foreshock_dashboard.simulated.span_counts import CountedSpans
from foreshock_dashboard.simulated.targets import HostTarget, SeriesNumbers
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import Family, Sample
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Outage, Simulation

if TYPE_CHECKING:
    from tests.recording.conftest import Rows

START = 1_767_600_000.0
LENGTH = 300.0
DEFAULTS = ScrapeConfig()
Read = Callable[[Path], "Rows"]


def simulation(sample: float = 0.05, seed: int = 1) -> Simulation:
    return Simulation(load("starve", "small", 1), seed, START, sample=sample, count=True)


def record(
    path: Path,
    length: float = LENGTH,
    config: ScrapeConfig = DEFAULTS,
    outages: Sequence[Outage] = (),
    seed: int = 1,
) -> Path:
    """Record a small platform."""
    with RecordingWriter(path) as writer:
        recorder = Recorder(simulation(seed=seed), writer, config, outages)
        for _ in recorder.run(START + length):
            pass
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes with 5% of the scrapes lost."""
    return record(tmp_path_factory.mktemp("recorded") / "recording", config=ScrapeConfig(loss_ratio=0.05))


@pytest.fixture(scope="module")
def contents(recorded: Path) -> Iterator[tuple[Rows, list[Span]]]:
    """Samples by series, and spans."""
    with Recording(recorded) as recording:
        rows: Rows = {}
        for piece in recording.samples():
            for row, time, value in zip(
                piece.series.tolist(), piece.times.tolist(), piece.values.tolist(), strict=True
            ):
                series = recording.series[row]
                rows.setdefault((series.metric, series.labels), []).append((time, value))
        yield rows, [span for some in recording.spans() for span in some]


def series_of(rows: Rows, metric: str) -> dict[Labels, list[tuple[int, float]]]:
    """The series of a metric."""
    return {labels: samples for (name, labels), samples in rows.items() if name == metric}


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """File by file; another seed gives other bytes."""
    one, other, third = (record(tmp_path / name, 60.0, seed=seed) for name, seed in (("1", 1), ("2", 1), ("3", 2)))
    names = sorted(file.name for file in one.iterdir())
    assert [(one / name).read_bytes() for name in names] == [(other / name).read_bytes() for name in names]
    assert (one / "metrics.parquet").read_bytes() != (third / "metrics.parquet").read_bytes()


def test_each_target_has_its_own_scrape_offset(contents: tuple[Rows, list[Span]]) -> None:
    """Within two seconds of the grid of 10 s."""
    offsets = {}
    for labels, samples in series_of(contents[0], "up").items():
        times = np.array([time for time, _ in samples]) / 1e3 - START
        offset = times - 10 * np.round(times / 10)
        assert np.ptp(offset) < 1e-6, labels
        assert abs(offset[0]) <= 2.0
        assert len(times) >= LENGTH / 10 - 1
        if dict(labels)["job"] != "model-servers":  # which are scraped together
            offsets[labels] = round(float(offset[0]), 3)
    assert len(offsets) == 4 + 2
    assert len({*offsets.values()}) == len(offsets)


def test_a_lost_scrape_sets_up_to_zero_and_marks_every_series_stale(contents: tuple[Rows, list[Span]]) -> None:
    """As in Prometheus; the next scrape resumes them."""
    lost = 0
    for labels, samples in series_of(contents[0], "up").items():
        of_target = [
            dict(values) for key, values in contents[0].items() if set(labels) <= set(key[1]) and key[0] != "up"
        ]
        for (_, before), (time, up) in pairwise(samples):
            present = [each[time] for each in of_target if time in each]
            if up:
                assert any(not is_stale(value) for value in present)
            else:
                lost += 1
                assert all(is_stale(value) for value in present)
                assert bool(present) == bool(before)  # after another lost one, nothing is left to end
    assert 3 <= lost <= 40


def test_simulated_data_is_marked_and_names_its_hosts(contents: tuple[Rows, list[Span]]) -> None:
    """By the exporters' own metrics."""
    rows = contents[0]
    mock = series_of(rows, "foreshock_exporter_mock")
    assert len(mock) == 4
    assert {value for samples in mock.values() for _, value in samples if not is_stale(value)} == {1.0}
    hosts = {dict(labels)["host_name"]: dict(labels)["instance"] for labels in series_of(rows, "target_info")}
    assert hosts == {name: f"{name}:10877" for name in hosts}
    assert {dict(labels)["job"] for _, labels in rows} == {
        "foreshock-exporter", "foreshock", "kube-state-metrics", "model-servers",
    }  # fmt: skip


def test_model_servers_and_kubernetes_are_recorded_under_their_names(contents: tuple[Rows, list[Span]]) -> None:
    """Each model server is a target."""
    names = {name for name, _ in contents[0]}
    assert {
        "vllm:num_requests_running",
        "vllm:e2e_request_latency_seconds_bucket",
        "kube_deployment_status_replicas",
    } <= names
    servers = {dict(labels)["instance"] for labels in series_of(contents[0], "vllm:num_requests_running")}
    assert servers == {
        dict(labels)["instance"] for labels in series_of(contents[0], "up") if dict(labels)["job"] == "model-servers"
    }
    assert not [key for key in contents[0] if any(name.startswith("exported_") for name, _ in key[1])]


def test_traces_are_sampled_as_a_whole(contents: tuple[Rows, list[Span]]) -> None:
    """About 5%, selected by trace id; occupancy spans are always recorded."""
    whole: dict[str, int] = {}
    platform = simulation(sample=1.0)
    for span in platform.advance(START + LENGTH):
        whole[span.trace_id] = whole.get(span.trace_id, 0) + 1
    recorded_spans: dict[str, int] = {}
    for one in contents[1]:
        if not one.occupancy:
            recorded_spans[one.trace_id] = recorded_spans.get(one.trace_id, 0) + 1
    assert recorded_spans == {trace: count for trace, count in whole.items() if int(trace[16:], 16) < 0.05 * 2**64}
    assert 0.02 < len(recorded_spans) / len(whole) < 0.1
    assert any(one.occupancy for one in contents[1])


def sums(rows: dict[tuple[str, Labels], float], metric: str, drop: str = "") -> dict[Labels, float]:
    """Values of a metric, summed without the label `drop`."""
    sums_by_labels: dict[Labels, float] = {}
    for (name, labels), value in rows.items():
        if name == metric:
            key = tuple(pair for pair in labels if pair[0] != drop)
            sums_by_labels[key] = sums_by_labels.get(key, 0.0) + value
    return sums_by_labels


def read(counted: CountedSpans, now: float) -> dict[tuple[str, Labels], float]:
    return {key: value for series, values in counted.read(now) for key, value in zip(series.names, values, strict=True)}


SAME = (
    "traces_service_graph_request_total", "traces_service_graph_request_failed_total", "foreshock_retry_attempts_total",
    "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds_bucket", "foreshock_llm_tokens_total",
    "traces_service_graph_request_server_seconds_bucket", "traces_service_graph_request_client_seconds_bucket",
    "foreshock_llm_queue_duration_seconds_bucket", "foreshock_llm_time_to_first_token_seconds_bucket",
)  # fmt: skip


def test_span_counts_equal_the_hubs_span_metrics_over_all_spans() -> None:
    """Equal series and counts as from the hub's pairing of every span."""
    platform = Simulation(load("calm", "small", 1), 1, START, sample=1.0, count=True)
    counted, hub = CountedSpans(platform.counts), SpanMetrics(ttl=1e5, slack=1e6, stale_after=1e9)
    for now in np.arange(START + 10, START + LENGTH + 1, 10).tolist():
        hub.add([to_span(span) for span in platform.advance(now)], now)
        read(counted, now)
        hub.collect(now)
    later = START + 1e7
    hub.add((), later)
    end = START + LENGTH
    hub.collect(end)  # server durations appear only now, and new series as 0 first
    counts, theirs = read(counted, end), {(metric, labels): value for metric, labels, value in hub.collect(end)}
    for metric in SAME:
        ours, others = sums(counts, metric), sums(theirs, metric)
        others = {labels: value for labels, value in others.items() if value or labels in ours}  # no errors yet: 0
        assert ours.keys() == others.keys(), metric
        assert sum(others.values()) > 0 or "failed" in metric or "retry" in metric, metric
        for labels, value in others.items():
            assert math.isclose(ours[labels], value, rel_tol=0.01, abs_tol=8), (metric, labels)  # calls on their way


def test_recorded_samples_equal_the_exporters_exposition(tmp_path: Path) -> None:
    """Equal series and values without text in between."""
    platform = simulation()
    labels = {"job": "foreshock-exporter", "instance": "host:10877"}
    with RecordingWriter(tmp_path / "recording") as writer:
        target = HostTarget(platform.hosts[0], writer, labels)
        for now in (START + 2, START + 4, START + 60):
            platform.advance(now)
            target.sample(now)
        numbers, values = target.read(START + 60)
        keys = {number: key for key, number in writer.numbers.items()}
        direct = {keys[number]: value for number, value in zip(numbers, values, strict=True)}
        text = render(target.families()).decode()
    scraped = {(sample.metric, sample.labels): sample.value for sample in parse(text, labels)}
    assert direct == scraped
    assert len(direct) > 100


def test_an_outage_resets_counters(tmp_path: Path, rows: Read) -> None:
    """Of the affected hosts; without `restarts` they continue."""
    outages = [
        Outage(START + 60, START + 120, ("host-1",), True),
        Outage(START + 60, START + 120, ("host-2",), False),
    ]
    samples = rows(record(tmp_path / "recording", 200.0, ScrapeConfig(loss_ratio=0.0), outages))
    fell: dict[str, set[bool]] = {}
    for labels, values in series_of(samples, "gpu_busy_seconds_total").items():
        real = [value for _, value in values if not is_stale(value)]
        if real[-1] > 5:
            fell.setdefault(dict(labels)["instance"], set()).add(any(b < a for a, b in pairwise(real)))
    assert fell["host-1:10877"] == {True}
    assert True not in fell.get("host-2:10877", set())
    for labels, values in series_of(samples, "up").items():
        down = [round((time / 1e3 - START) / 10) for time, up in values if not up]
        hit = dict(labels)["instance"] in ("host-1:10877", "host-2:10877")
        assert set(down) <= {6, 7, 8, 9, 10, 11, 12}
        assert bool(down) == hit, labels


def test_target_labels_take_precedence(tmp_path: Path) -> None:
    """Conflicting labels are renamed, as in a scrape."""
    with RecordingWriter(tmp_path / "recording") as writer:
        numbered = SeriesNumbers(writer, {"job": "j", "instance": "i"})
        numbered.of_families([(Family("m", "gauge", ("instance", "job"), ""), [Sample(("other", "j"), 1.0)])])
        assert list(writer.numbers) == [("m", (("exported_instance", "other"), ("instance", "i"), ("job", "j")))]
        writer.add(np.array([0], np.int32), np.array([0], np.int64), np.array([1.0]))
