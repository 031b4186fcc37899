"""An explanation says what was found and compared, and which questions stay open."""

from __future__ import annotations

import math
from typing import Any

import pytest

from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.explanation import SIGNAL_KINDS
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.action import reasons_text
from foreshock_dashboard.render.explanation_text import below, heading
from foreshock_dashboard.render.metric_figure import metric_figure
from foreshock_dashboard.render.words.signals import SIGNAL_KINDS as KIND_NAMES
from foreshock_dashboard.render.words.signals import UNKNOWN_WITHOUT
from foreshock_dashboard.web.state.incident_json import candidate

DAY = "2026-01-05"
AT, NOON = 1_767_602_520.0, 1_800_014_400.0
FRONT = Service("shop", "front")


def answer(**changes: object) -> dict[str, Any]:
    """The JSON of an explanation without findings."""
    return {"service": None, "at": AT, "candidates": [], "weak_candidates": [], "signals": [], "missing": [], **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"candidates": [1], "confidence": "high"},
            "Likely root causes at 2026-01-05 08:42:00 UTC. Confidence: high.",
        ),
        (
            {"candidates": [1], "confidence": "low", "service": "front"},
            "Possible root causes for front at 2026-01-05 08:42:00 UTC. Confidence: low.",
        ),
        ({}, "No service is clearly anomalous at 2026-01-05 08:42:00 UTC."),
        (
            {"weak_candidates": [1]},
            "No service is clearly anomalous at 2026-01-05 08:42:00 UTC. Closest, with low confidence:",
        ),
        (
            {"weak_candidates": [1], "service": "front"},
            "front is not clearly anomalous at 2026-01-05 08:42:00 UTC. Closest, with low confidence:",
        ),
    ],
)
def test_the_heading_is_honest_about_weak_evidence(changes: dict[str, object], expected: str) -> None:
    assert heading(answer(**changes)) == expected


def test_what_was_compared_and_what_stays_unknown_follow() -> None:
    """A kind of signal that is missing leaves one question open."""
    signals = [{"kind": "latency", "series": 1200, "services": 14}, {"kind": "errors", "series": 1, "services": 1}]
    times = {"baseline": {"start": AT - 7200, "end": AT - 900}, "analyzed": {"start": AT - 120, "end": AT + 600}}
    assert [*below(answer(signals=signals, missing=["calls", "changes"], **times))] == [
        f"Analyzed: {DAY} 08:40:00 UTC to {DAY} 08:52:00 UTC. Baseline: {DAY} 06:42:00 UTC to {DAY} 08:27:00 UTC.",
        "Compared: 1,201 series from up to 14 services (latency 1,200, error rate 1).",
        "No call graph data, so it is unknown which service is the root cause, and which services only call it.",
        "No change data, so it is unknown whether a deployment or another change preceded the incident.",
    ]
    assert [*below(answer())] == []


def test_every_kind_of_signal_has_a_name_and_a_question() -> None:
    assert {*KIND_NAMES} == {*UNKNOWN_WITHOUT} == {*SIGNAL_KINDS, "changes"}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason("slower", FRONT, "p95", 20.0, 0.12, NOON), "p95 120 ms → 2.40 s since 12:00:00"),
        (Reason("slower", FRONT, "latency_ms", 20.0, 120.0, NOON), "latency_ms 120 ms → 2.40 s since 12:00:00"),
        (Reason("slower", FRONT, value=2.3), "latency 2.3x baseline"),
        (Reason("failures_grew", FRONT, "error_rate", 0.12, 0.001, NOON), "error rate 0.1% → 12% since 12:00:00"),
        (Reason("failures_grew", FRONT, value=0.12), "error rate +12 pp"),
        (
            Reason("calls_failed", FRONT, "error_ratio", 0.57, 0.0, NOON),
            "failed calls to shop/front 0% → 57% since 12:00:00",
        ),
        (Reason("calls_failed", FRONT, value=0.57), "failed calls to shop/front +57 pp"),
        (
            Reason("metric", FRONT, "ready_ratio", 0.67, 1.0, NOON),
            "ready replicas 100% → 67% of desired since 12:00:00",
        ),
        (Reason("metric", FRONT, "cpu_ratio", 0.99, 0.5), "CPU 50% → 99% of limit"),
        (Reason("metric", FRONT, "throttled_ratio", 0.85, 0.0, NOON), "throttled_ratio 0% → 85% since 12:00:00"),
        (Reason("metric", FRONT, "queue", 7.0, 2.0, math.inf), "queue 2 → 7"),
        (Reason("called_in", FRONT, value=0.96), "called in 96% of requests of shop/front"),
    ],
)
def test_a_reason_is_a_figure_before_and_after(reason: Reason, expected: str) -> None:
    assert reasons_text([reason]) == expected


@pytest.mark.parametrize(
    ("reason", "value", "ratio", "unit"),
    [
        (Reason("slower", FRONT, "p95", 20.0, 0.12, NOON), 2.4, 20.0, "s"),
        (Reason("slower", FRONT, "latency_ms", 20.0, 120.0, NOON), 2400.0, 20.0, "ms"),
        (Reason("slower", FRONT, value=2.3), 2.3, 2.3, "ratio"),
        (Reason("failures_grew", FRONT, "error_rate", 0.12, 0.01, NOON), 0.13, None, "ratio"),
        (Reason("failures_grew", FRONT, value=0.12), 0.12, None, "ratio"),
        (Reason("calls_failed", FRONT, "error_ratio", 0.5, 0.01, NOON), 0.51, None, "ratio"),
        (Reason("metric", FRONT, "rss_bytes", 7.0, 2.0), 7.0, None, "bytes"),
        (Reason("metric", FRONT, "queue", 7.0, 2.0), 7.0, None, ""),
        (Reason("cause", FRONT, "dependency"), None, None, ""),
    ],
)
def test_the_value_of_a_reason_is_in_the_unit_of_its_baseline(
    reason: Reason, value: float | None, ratio: float | None, unit: str
) -> None:
    """Or it is the change, where the baseline is unknown."""
    (row,) = candidate(Candidate(FRONT, 1.0, (reason,))).reasons
    assert (row.value, row.ratio, row.unit) == (pytest.approx(value) if value else None, ratio, unit)


def test_a_cause_class_gives_way_to_figures() -> None:
    """A class alone says nothing that could be checked."""
    cause = Reason("cause", FRONT, "dependency")
    assert reasons_text([cause, Reason("slower", FRONT, value=2.3)]) == "latency 2.3x baseline"
    assert reasons_text([cause]) == "failing dependency of shop/front"


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("http_request_duration_seconds", 2.4, "2.40 s"),
        ("latency_ms", 120.0, "120 ms"),
        ("process_resident_memory_bytes", 3.25e8, "310 MiB"),
        ("cpu_usage_ratio", 0.853, "85%"),
        ("disk_used_percent", 97.0, "97%"),
        ("queue_length", 1250.0, "1,250"),
        ("container_cpu_usage_seconds_total", 0.52, "0.52 cores"),
        ("container_network_receive_bytes_total", 2048.0, "2 KiB/s"),
        ("drift_seconds", -3.0, "-3"),
        ("requests_running", 2.2e-308, "0"),
    ],
)
def test_the_unit_of_a_figure_is_that_of_the_name(metric: str, value: float, expected: str) -> None:
    assert metric_figure(metric, value) == expected
