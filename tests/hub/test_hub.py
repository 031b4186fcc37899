"""The hub in this process, where a test has to reach inside."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.worlds import NOW, contended, contention_incident

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.response import entries
from foreshock_dashboard.settings.option_types import TargetOption
from foreshock_dashboard.settings.settings import Settings

Eventually = Callable[..., None]


def settings(store: Path) -> Settings:
    """A hub on free ports."""
    return Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=store, evaluation_interval=1.0)


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(settings(tmp_path), Clock(), maintenance_seconds=0.02)
    yield hub
    hub.close()


def test_store_maintenance_continues_after_an_unexpected_failure(hub: Hub, eventually: Eventually) -> None:
    """Or the store would fill up until it refuses everything."""
    rounds = []

    def maintain(*, early: bool = False, merge: bool = True) -> None:  # noqa: ARG001 - as of the store
        rounds.append(time.monotonic())
        if len(rounds) == 1:
            raise MemoryError("no memory for a merge")

    hub.store.maintain = maintain  # type: ignore[method-assign] # a store whose maintenance fails once
    hub.start()

    eventually(lambda: len(rounds) >= 3, "maintenance continues")


def test_what_was_counted_since_the_last_evaluation_is_written_on_close(tmp_path: Path) -> None:
    """A hub that is stopped loses no requests from its metrics."""
    now = time.time()
    hub = Hub(settings(tmp_path), Clock())
    ends = int(now * 1e9)
    name = {"service.name": "llm"}
    hub.pipeline.write(now - 1)
    for number in range(2):
        hub.pipeline.accept(
            [Span(f"{number + 1:032x}", "b" * 16, "", "POST", "server", ends, ends, "unset", "", name, {})]
        )
        if number == 0:
            hub.pipeline.write(now - 0.5)
    hub.close()

    again = Hub(settings(tmp_path), Clock())
    found = again.store.fetch(Query("traces_span_metrics_calls_total"), time.time(), time.time(), 1.0)
    again.close()

    assert sorted(found.values.tolist()) == [[0.0], [2.0]]  # no errors, and both spans


def test_an_evaluation_counts_the_spans_until_just_before_its_grid_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts that are written with the evaluation itself would be of the next one."""
    now, written, evaluated = [1_800_000_003.0], [], []
    clock = Clock(wall=lambda: now[0], steady=lambda: now[0])
    hub = Hub(replace(settings(tmp_path), evaluation_interval=10.0), clock)
    write = hub.pipeline.write

    class Stop(threading.Event):
        """A hub whose waits take no time, for four evaluations."""

        def is_set(self) -> bool:
            world = hub.snapshot.evaluated
            evaluated.append(world.time if world else 0.0)
            return len(evaluated) > 4

        def wait(self, timeout: float | None = None) -> bool:
            now[0] += timeout or 0.0
            return False

    def written_write(at: float, own: Sequence[Sample] = ()) -> None:
        written.append(at)
        write(at, own)

    monkeypatch.setattr(hub.pipeline, "write", written_write)
    monkeypatch.setattr(hub, "_stop", Stop())
    hub._evaluate_repeatedly()
    monkeypatch.undo()
    hub.close()

    assert written == [1_800_000_003.0, *(1_800_000_009.5 + 10.0 * index for index in range(4))]
    assert evaluated[-2:] == [1_800_000_020.0, 1_800_000_030.0]


def test_samples_that_cannot_be_written_on_close_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub closes all the same."""
    hub = Hub(settings(tmp_path), Clock())

    def write(now: float) -> None:  # noqa: ARG001 - as of the pipeline
        raise SourceError("disk full")

    monkeypatch.setattr(hub.pipeline, "write", write)
    hub.close()
    assert "store: samples since the last evaluation were not written: disk full" in caplog.messages


def test_durations_of_all_evaluations_are_counted(hub: Hub) -> None:
    """As a histogram, from whose buckets a dashboard computes percentiles."""
    for _ in range(3):
        hub.evaluate()

    families = {family.name: family for family in text_string_to_metric_families(hub.metrics_text())}
    durations = families["foreshock_evaluation_duration_seconds"]
    found = {(sample.name.rsplit("_", 1)[1], sample.labels.get("le")): sample.value for sample in durations.samples}
    assert durations.type == "histogram"
    assert found["bucket", "+Inf"] == found["count", None] == 3
    assert found["sum", None] > 0
    assert {kind for kind, _ in found} == {"bucket", "count", "sum"}


def test_a_hub_knows_what_earlier_weeks_were_like_at_this_time(hub: Hub) -> None:
    """As soon as it has ticked, from what its store holds."""
    now, busy = time.time(), Service("serving", "chat")
    labels = labels_of({"service_name": "chat", "service_namespace": "serving", "span_kind": "SPAN_KIND_SERVER"})
    for weeks in (2, 1):
        then = now - weeks * 7 * DAY_SECONDS + 60.0 * np.arange(-150, 31)
        totals = np.cumsum(np.where(then > then[145], 300.0, 120.0))
        hub.store.append_samples(
            [
                SampleBatch(at, "x", (Sample("traces_span_metrics_calls_total", labels, total),))
                for at, total in zip(then.tolist(), totals.tolist(), strict=True)
            ]
        )
    hub.evaluate()

    world = hub.snapshot.world
    assert world is not None
    assert world.season.of(busy, world.time).growth == pytest.approx(2.5, rel=0.1)
    assert world.season.of(busy, world.time - 3600.0).growth == pytest.approx(1.0, rel=0.1)


def test_a_tick_lets_go_of_what_came_in_cycles_since_the_last_one(hub: Hub) -> None:
    """A scrape's answer is a page of metrics, which refers to itself through the client that fetched it."""

    class Answer:
        pass

    hub.evaluate()
    answer = Answer()
    answer.client = [answer]  # type: ignore[attr-defined]
    seen = weakref.ref(answer)
    gc.collect(0)  # as happens meanwhile
    del answer
    hub.evaluate()

    assert seen() is None


def test_a_target_that_is_assigned_to_a_service_has_its_labels(tmp_path: Path) -> None:
    """They win over labels of the series, so that a model server is no second service named after its model.

    Others have the job of exporters only at the exporter's port: a job may become the name of a service.
    """
    others = ("http://gpu-1:10877/metrics", "http://tgi:8080/metrics", "http://[fd00::1]:9400/metrics")
    targets = (TargetOption("http://vllm:8000/metrics", "serving/llm-chat"), *map(TargetOption, others))
    hub = Hub(replace(settings(tmp_path), targets=targets), Clock())
    labels = [dict(state.target.target_labels) for state in hub.scraper.states()]
    hub.close()
    assert labels == [
        {
            "service_name": "llm-chat",
            "service_namespace": "serving",
            "job": "llm-chat",
            "instance": "vllm:8000",
        },
        {"job": "foreshock-exporter", "instance": "gpu-1:10877"},
        {"job": "tgi", "instance": "tgi:8080"},
        {"job": "fd00::1", "instance": "[fd00::1]:9400"},
    ]


def test_a_journal_that_cannot_be_read_keeps_the_silences_and_stops_no_page(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it once."""
    incident = contention_incident(contended())
    other = replace(incident, id="other", service=Service("", "other"))
    silence = entries.silence(NOW, NOW + 600, service=incident.service)
    hub.journal.append("incident", NOW, "dana", silence)
    hooks = hub.hooks()
    assert hooks.muted(incident, NOW + 1) == Mute(NOW + 600, "dana", "")

    def fail(*_: object, **__: object) -> list[Entry]:
        raise SourceError("the disk cannot be read")

    hub.journal.append("incident", NOW, "dana", entries.acknowledge(incident.id))
    monkeypatch.setattr(hub.journal, "read", fail)
    assert hooks.muted(incident, NOW + 1) == Mute(NOW + 600, "dana", "")
    assert hooks.muted(other, NOW + 1) is None
    assert hooks.silences_capacity(incident.service, NOW + 1)
    assert not hooks.silences_capacity(other.service, NOW + 1)
    assert len([record for record in caplog.records if "the disk cannot be read" in record.message]) == 1
