"""What is recorded of a simulated platform is what its exporters, spans and counts say, as monitoring would have it."""

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
from foreshock_dashboard.recording.platform import Outage
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.recorder import Recorder, ScrapeConfig, to_span
from foreshock_dashboard.recording.span_counts import CountedSpans
from foreshock_dashboard.recording.targets import HostTarget, SeriesNumbers
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import Family, Sample
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

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
    """A recording of a small platform."""
    with RecordingWriter(path) as writer:
        recorder = Recorder(simulation(seed=seed), writer, start=START, seed=seed, config=config, outages=outages)
        for _ in recorder.run(START + length):
            pass
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes in which one scrape of twenty is lost."""
    return record(tmp_path_factory.mktemp("recorded") / "recording", config=ScrapeConfig(loss_ratio=0.05))


@pytest.fixture(scope="module")
def found(recorded: Path) -> Iterator[tuple[Rows, list[Span]]]:
    """Its samples by series, and its spans."""
    with Recording(recorded) as recording:
        rows: Rows = {}
        for piece in recording.samples():
            for row, time, value in zip(
                piece.series.tolist(), piece.times.tolist(), piece.values.tolist(), strict=True
            ):
                series = recording.series[row]
                rows.setdefault((series.metric, series.labels), []).append((time, value))
        yield rows, [span for some in recording.spans() for span in some]


def named(rows: Rows, metric: str) -> dict[Labels, list[tuple[int, float]]]:
    return {labels: told for (name, labels), told in rows.items() if name == metric}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    """File by file."""
    one, other, third = (record(tmp_path / name, 60.0, seed=seed) for name, seed in (("1", 1), ("2", 1), ("3", 2)))
    names = sorted(file.name for file in one.iterdir())
    assert [(one / name).read_bytes() for name in names] == [(other / name).read_bytes() for name in names]
    assert (one / "metrics.parquet").read_bytes() != (third / "metrics.parquet").read_bytes()


def test_every_target_is_scraped_at_a_moment_of_its_own(found: tuple[Rows, list[Span]]) -> None:
    """Within two seconds of the grid, each 10 s; not all at once."""
    offsets = {}
    for labels, told in named(found[0], "up").items():
        times = np.array([time for time, _ in told]) / 1e3 - START
        offset = times - 10 * np.round(times / 10)
        assert np.ptp(offset) < 1e-6, labels
        assert abs(offset[0]) <= 2.0
        assert len(times) >= LENGTH / 10 - 1
        if dict(labels)["job"] != "model-servers":  # which are scraped together
            offsets[labels] = round(float(offset[0]), 3)
    assert len(offsets) == 4 + 2
    assert len({*offsets.values()}) == len(offsets)


def test_a_lost_scrape_is_down_and_ends_every_series(found: tuple[Rows, list[Span]]) -> None:
    """As Prometheus writes it; the next scrape begins them again."""
    lost = 0
    for labels, told in named(found[0], "up").items():
        mine = [dict(values) for key, values in found[0].items() if set(labels) <= set(key[1]) and key[0] != "up"]
        for (_, before), (time, up) in pairwise(told):
            present = [each[time] for each in mine if time in each]
            if up:
                assert any(not is_stale(value) for value in present)
            else:
                lost += 1
                assert all(is_stale(value) for value in present)
                assert bool(present) == bool(before)  # after another lost one, nothing is left to end
    assert 3 <= lost <= 40


def test_simulated_data_says_so_and_says_where_it_is_from(found: tuple[Rows, list[Span]]) -> None:
    """By the exporters' own metrics."""
    rows = found[0]
    mock = named(rows, "foreshock_exporter_mock")
    assert len(mock) == 4
    assert {value for told in mock.values() for _, value in told if not is_stale(value)} == {1.0}
    hosts = {dict(labels)["host_name"]: dict(labels)["instance"] for labels in named(rows, "target_info")}
    assert hosts == {name: f"{name}:10877" for name in hosts}
    assert {dict(labels)["job"] for _, labels in rows} == {
        "foreshock-exporter", "foreshock", "kube-state-metrics", "model-servers",
    }  # fmt: skip


def test_model_servers_and_kubernetes_are_there_under_their_names(found: tuple[Rows, list[Span]]) -> None:
    """Each model server is a target."""
    names = {name for name, _ in found[0]}
    assert {
        "vllm:num_requests_running",
        "vllm:e2e_request_latency_seconds_bucket",
        "kube_deployment_status_replicas",
    } <= names
    servers = {dict(labels)["instance"] for labels in named(found[0], "vllm:num_requests_running")}
    assert servers == {
        dict(labels)["instance"] for labels in named(found[0], "up") if dict(labels)["job"] == "model-servers"
    }
    assert not [key for key in found[0] if any(name.startswith("exported_") for name, _ in key[1])]


def test_a_trace_is_recorded_whole_or_not_at_all(found: tuple[Rows, list[Span]]) -> None:
    """About one of twenty, picked by its id; occupancy is recorded whatever its id."""
    whole: dict[str, int] = {}
    platform = simulation(sample=1.0)
    for span in platform.advance(START + LENGTH):
        whole[span.trace_id] = whole.get(span.trace_id, 0) + 1
    kept: dict[str, int] = {}
    for one in found[1]:
        if not one.occupancy:
            kept[one.trace_id] = kept.get(one.trace_id, 0) + 1
    assert kept == {trace: count for trace, count in whole.items() if int(trace[16:], 16) < 0.05 * 2**64}
    assert 0.02 < len(kept) / len(whole) < 0.1
    assert any(one.occupancy for one in found[1])


def last(rows: dict[tuple[str, Labels], float], metric: str, drop: str = "") -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    for (name, labels), value in rows.items():
        if name == metric:
            key = tuple(pair for pair in labels if pair[0] != drop)
            found[key] = found.get(key, 0.0) + value
    return found


def read(counted: CountedSpans, now: float) -> dict[tuple[str, Labels], float]:
    return {key: value for series, told in counted.read(now) for key, value in zip(series.names, told, strict=True)}


SAME = (
    "traces_service_graph_request_total", "traces_service_graph_request_failed_total", "foreshock_retry_attempts_total",
    "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds_bucket", "foreshock_llm_tokens_total",
    "traces_service_graph_request_server_seconds_bucket", "traces_service_graph_request_client_seconds_bucket",
    "foreshock_llm_queue_seconds_bucket", "foreshock_llm_time_to_first_token_seconds_bucket",
)  # fmt: skip


def test_what_is_counted_is_what_the_hub_makes_of_all_spans() -> None:
    """The same series, with the same counts, as the hub's own pairing of every span."""
    platform = Simulation(load("calm", "small", 1), 1, START, sample=1.0, count=True)
    counted, hub = CountedSpans(platform.counts), SpanMetrics(ttl=1e5, slack=1e6, stale_after=1e9)
    for now in np.arange(START + 10, START + LENGTH + 1, 10).tolist():
        hub.add([to_span(span) for span in platform.advance(now)], now)
        read(counted, now)
        hub.collect(now)
    later = START + 1e7
    hub.add((), later)
    end = START + LENGTH
    hub.collect(end)  # durations of servers are told only now, and each new series as 0 first
    mine, theirs = read(counted, end), {(metric, labels): value for metric, labels, value in hub.collect(end)}
    for metric in SAME:
        ours, others = last(mine, metric), last(theirs, metric)
        assert ours.keys() == others.keys(), metric
        assert sum(others.values()) > 0 or "failed" in metric or "retry" in metric, metric
        for labels, value in others.items():
            assert math.isclose(ours[labels], value, rel_tol=0.01, abs_tol=8), (metric, labels)  # calls on their way


def test_numbers_are_those_of_the_text_that_an_exporter_would_serve(tmp_path: Path) -> None:
    """Emission without text in between: the same series, the same values, as a scrape of the page."""
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


def test_an_outage_begins_counters_anew(tmp_path: Path, rows: Read) -> None:
    """For the hosts it names; without `restarts` they go on."""
    outages = [
        Outage(START + 60, START + 120, ("host-1",), True),
        Outage(START + 60, START + 120, ("host-2",), False),
    ]
    told = rows(record(tmp_path / "recording", 200.0, ScrapeConfig(loss_ratio=0.0), outages))
    fell: dict[str, set[bool]] = {}
    for labels, values in named(told, "gpu_busy_seconds_total").items():
        real = [value for _, value in values if not is_stale(value)]
        if real[-1] > 5:
            fell.setdefault(dict(labels)["instance"], set()).add(any(b < a for a, b in pairwise(real)))
    assert fell["host-1:10877"] == {True}
    assert True not in fell.get("host-2:10877", set())
    for labels, values in named(told, "up").items():
        down = [round((time / 1e3 - START) / 10) for time, up in values if not up]
        hit = dict(labels)["instance"] in ("host-1:10877", "host-2:10877")
        assert set(down) <= {6, 7, 8, 9, 10, 11, 12}
        assert bool(down) == hit, labels


def test_a_target_keeps_its_own_labels(tmp_path: Path) -> None:
    """What it says of them otherwise is renamed, as a scrape does."""
    with RecordingWriter(tmp_path / "recording") as writer:
        numbered = SeriesNumbers(writer, {"job": "j", "instance": "i"})
        numbered.of_families([(Family("m", "gauge", ("instance", "job"), ""), [Sample(("other", "j"), 1.0)])])
        assert list(writer.numbers) == [("m", (("exported_instance", "other"), ("instance", "i"), ("job", "j")))]
        writer.add(np.array([0], np.int32), np.array([0], np.int64), np.array([1.0]))
