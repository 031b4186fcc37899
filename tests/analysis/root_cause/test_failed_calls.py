"""Failed calls to a service that reports no errors: it was down, or its caller timed out early."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.deviation import window_of_incident
from foreshock_dashboard.analysis.root_cause.rank_signals import Ranking, SignalRanker
from foreshock_dashboard.analysis.root_cause.signal_rows import (
    Entity,
    SignalRow,
    calls_per_request,
    traffic_by_entity,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

FRONT, STORE, ADS = (Service("shop", name) for name in ("front", "store", "ads"))
STEP, POINTS, ONSET = 10.0, 370, 300
CALLS_PER_REQUEST = 0.6


def of_a_minute(values: Floats) -> Floats:
    """Mean of each point and the five before it."""
    return np.array([values[max(0, i - 5) : i + 1].mean() for i in range(len(values))])


def crash_loop(seconds_up: float) -> Floats:
    """1 where a service runs and 0 where it waits to be started again, for 10, 20, 40, … s up to 5 min."""
    up, at, backoff = np.ones(POINTS), ONSET, 1
    while at < POINTS:
        up[at : at + backoff] = 0.0
        at += backoff + round(seconds_up / STEP)
        backoff = min(30, 2 * backoff)
    return up


def signals(answered: Floats, received: Floats, is_ready: Floats | None) -> list[SignalRow]:
    """Of a front that calls a store and ads. answered, received: shares of the calls to the store at each point."""
    random = np.random.default_rng(1)
    made: list[SignalRow] = []

    def add(entity: Entity, rate: Floats, seconds: float, errors: Floats) -> None:
        counts, side = rate * 60, "" if isinstance(entity, Service) else "client"
        spread = seconds * np.exp(0.03 * random.standard_normal(POINTS))
        made.append(SignalRow(entity, "traffic", "requests_per_second", rate, "", counts, side))
        made.append(SignalRow(entity, "latency", "latency_seconds", spread, "p95", counts, side))
        made.append(SignalRow(entity, "errors", "error_ratio", np.where(rate > 0, errors, np.nan), "", counts, side))

    requests = 10 * np.exp(0.05 * random.standard_normal(POINTS))
    calls, none = CALLS_PER_REQUEST * requests, np.zeros(POINTS)
    failed = of_a_minute(calls * (1 - answered))
    add(FRONT, of_a_minute(requests), 0.2, failed / of_a_minute(requests))
    add((FRONT, STORE), of_a_minute(calls), 0.06, failed / of_a_minute(calls))
    add(STORE, of_a_minute(calls * received), 0.06, none)
    add((FRONT, ADS), of_a_minute(requests), 0.04, none)
    add(ADS, of_a_minute(requests), 0.04, none)
    if is_ready is not None:
        made.append(SignalRow(STORE, "availability", "ready", is_ready))
    return made + calls_per_request(traffic_by_entity(made))


def ranked(rows: list[SignalRow], now: int) -> Ranking:
    """The ranking that a hub makes at a point for an incident that opened 20 s after the fault."""
    window = window_of_incident(0.0, now * STEP, (ONSET + 2) * STEP, STEP)
    assert window is not None
    known = slice(round(window.times[0] / STEP), now + 1)
    rows = [
        row._replace(values=row.values[known], counts=None if row.counts is None else row.counts[known]) for row in rows
    ]
    return SignalRanker(rows, window).ranking(FRONT)


@pytest.mark.parametrize("seconds_up", [10.0, 20.0, 60.0])
@pytest.mark.parametrize("has_readiness", [True, False])
def test_a_crash_loop_is_named_at_every_evaluation(seconds_up: float, has_readiness: bool) -> None:
    """It answers whenever it runs, and its caller fails: the calls that it never received show it."""
    up = crash_loop(seconds_up)
    rows = signals(up, up, up if has_readiness else None)
    named = {ranked(rows, now).candidates[0].service for now in range(ONSET + 3, POINTS, 6)}
    assert named == {STORE}


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_a_caller_with_a_short_timeout_is_named(share: float) -> None:
    """The store receives and answers all calls; the caller takes a share of them for failed."""
    answered = np.where(np.arange(POINTS) >= ONSET, share, 1.0)
    rows = signals(answered, np.ones(POINTS), np.ones(POINTS))
    rankings = [ranked(rows, now).candidates for now in range(ONSET + 3, POINTS, 6)]
    assert {candidates[0].service for candidates in rankings} == {FRONT}
    why = {(item.service, reason.kind) for items in rankings for item in items for reason in item.reasons}
    assert (FRONT, "failures_grew") in why
    assert (STORE, "calls_failed") in why  # which reports no errors itself
    assert (STORE, "failures_grew") not in why
