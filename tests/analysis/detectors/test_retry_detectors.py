"""Retry amplification, retry storms, and latent retry risks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.detectors.platform import ANSWER, ASK, CODE, DIRECT, GATEWAY, IN, LLM, Changes, point, since, texts

from foreshock_dashboard.analysis.baseline.retry_amplification import amplification, request_rates
from foreshock_dashboard.analysis.detectors.retry_risk import (
    DEFAULT_ATTEMPTS,
    INFERRED_CONFIDENCE,
    OBSERVED_CONFIDENCE,
    retry_loops,
    retry_risks,
    timeout_seconds,
)
from foreshock_dashboard.analysis.detectors.retry_storm import lagged_slope, loop_gain, retry_storm
from foreshock_dashboard.stats.metastability import MAX_ATTEMPTS
from foreshock_dashboard.stats.robust import nan_mean

HEALTHY: Changes = {
    ("attempts", ANSWER): lambda i: 1.02 if i % 40 == 0 else 1.0,
    ("edge_error_rate", ANSWER): lambda i: 0.02 if i % 40 == 0 else 0.0,
    ("edge_p95", ANSWER): lambda i: 15.0 if i % 40 == 0 else 8.1,
}
"""Occasionally a request times out after 18 s and is retried."""


def test_attempts_multiply_along_a_chain() -> None:
    alone = {("edge_rate", DIRECT): 0, ("edge_rate", CODE): 0}
    tried = {("attempts", ASK): 2.0, ("attempts", ANSWER): 3.0}
    now = point({**alone, **tried, ("edge_rate", ASK): 10, ("edge_rate", ANSWER): 30})
    result = request_rates(now)
    row = {edge: i for i, edge in enumerate(now.world.edges)}
    assert result.first[row[ANSWER]] == pytest.approx(10)
    assert result.fresh[row[ANSWER]] == pytest.approx(5)
    assert result.fresh[row[IN]] == pytest.approx(5)
    assert result.retried([row[ANSWER]]) == pytest.approx(2)
    assert result.real([row[ANSWER]]) == pytest.approx(1 / 6)


def test_cyclic_calls_have_finite_attempts() -> None:
    client, server = np.array([0, 1, 2]), np.array([1, 2, 1])
    result = amplification(client, server, np.array([5.0, 5.0, 5.0]), np.array([1.0, 2.0, 2.0]), 3)
    assert np.isfinite(result).all()
    assert (result >= 1).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0, 1e4), st.floats(1, 9)), min_size=1, max_size=20
    )
)
def test_no_graph_gives_fewer_than_one_attempt(edges: list[tuple[int, int, float, float]]) -> None:
    client, server, offered, attempts = (np.array(column) for column in zip(*edges, strict=True))
    result = amplification(client.astype(np.intp), server.astype(np.intp), offered.astype(float), attempts, 6)
    assert np.isfinite(result).all()
    assert (result >= 1 - 1e-9).all()


def test_means_ignore_missing_values() -> None:
    assert nan_mean(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])) == pytest.approx([2.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.5])
def test_the_loop_gain_is_the_lagged_slope(factor: float) -> None:
    """Retries three points later are `factor` of the attempts."""
    offered = 10 + np.random.default_rng(3).normal(size=60).cumsum()
    retried = np.concatenate([np.zeros(3), factor * offered[:-3]])
    assert lagged_slope(offered, retried, 3) == pytest.approx(factor)


@pytest.mark.parametrize("offered", [[], [5.0] * 30, [math.nan] * 30, [1.0, 2.0, 3.0]])
def test_constant_load_has_no_loop_gain(offered: list[float]) -> None:
    assert math.isnan(lagged_slope(np.array(offered), np.array(offered), 3))


def test_a_healthy_edge_has_no_loop_gain() -> None:
    now = point()
    assert math.isnan(loop_gain(now, now.incoming[LLM]))


@pytest.mark.parametrize(
    ("p99", "failed", "seconds"),
    [
        ([9.0, 18.2, 12.0], [0.0, 0.1, 0.0], 18.2),
        ([9.0, 30.0], [0.0, 0.0], math.nan),
        ([9.0, math.nan], [0.1, 0.2], 9.0),
        ([0.6, 0.5, 0.6], [0.002, 0.002, 0.004], math.nan),
        ([], [], math.nan),
    ],
)
def test_the_timeout_shows_in_failed_calls(p99: list[float], failed: list[float], seconds: float) -> None:
    """Not if a few in a thousand fail: p99 is then of answered calls."""
    assert timeout_seconds(np.array(p99), np.array(failed)) == pytest.approx(seconds, nan_ok=True)


def test_a_retrying_client_is_assumed_to_make_the_default_attempts() -> None:
    observed = retry_loops(point(HEALTHY), {LLM: 0.4})[LLM]
    assert observed.loop.attempts == pytest.approx(DEFAULT_ATTEMPTS)
    assert observed.loop.timeout == pytest.approx(18.0)
    assert observed.confidence == INFERRED_CONFIDENCE


def test_observed_attempts_raise_the_confidence() -> None:
    observed = retry_loops(point({**HEALTHY, ("attempts", ANSWER): lambda i: 3.4 if i == 100 else 1.0}), {LLM: 0.4})[
        LLM
    ]
    assert observed.loop.attempts == pytest.approx(4.0)
    assert observed.confidence == OBSERVED_CONFIDENCE


def test_attempts_are_bounded() -> None:
    """In a cycle of callers they would multiply without end."""
    often = {("attempts", edge): lambda i: 9.0 if i == 100 else 1.0 for edge in (ASK, ANSWER)}
    observed = retry_loops(point({**HEALTHY, **often}), {LLM: 0.4})[LLM]
    assert observed.loop.attempts == MAX_ATTEMPTS


def test_a_client_without_retries_has_no_loop() -> None:
    assert retry_loops(point(), {LLM: 0.4}) == {}


@pytest.mark.parametrize(("load", "least", "most"), [(0.2, 0.0, 0.1), (0.5, 0.5, 0.75), (0.8, 0.7, 0.75)])
def test_a_retry_risk_depends_on_the_load(load: float, least: float, most: float) -> None:
    result = retry_risks(point(HEALTHY), {LLM: load})
    strength = max((finding.strength for finding in result), default=0.0)
    assert least <= strength <= most
    assert all(finding.suspect.edge == ANSWER[:2] and not finding.urgent for finding in result)


@pytest.mark.parametrize(
    ("load", "changes", "expected"),
    [
        pytest.param(
            0.5, HEALTHY,
            "28.1 s permanent. Expected: serving/llm survivable outage 28.1 s → at least 120 s (60 s needed).",
            id="a tenth more than half of the capacity fits in it",
        ),
        pytest.param(
            0.99, HEALTHY,
            "Expected: serving/llm survivable outage 5.62 s → 9.38 s (still short of the 60 s needed).",
            id="a tenth more than nearly all of it does not",
        ),
        pytest.param(
            0.8, {**HEALTHY, ("attempts", ASK): lambda i: 2.0 if i % 40 == 0 else 1.0},
            "an outage of 13.1 s permanent. Cancel abandoned",
            id="no effect while upstream clients still make three attempts",
        ),
        pytest.param(
            0.5, {**HEALTHY, ("attempts", ASK): lambda i: 2.0 if i % 40 == 0 else 1.0},
            "Do both steps: survivable outage 28.1 s → at least 120 s (60 s needed).",
            id="a retry budget and cancellation together",
        ),
    ],
)  # fmt: skip
def test_the_effect_of_a_retry_budget_is_the_outage_survived(load: float, changes: Changes, expected: str) -> None:
    (result,) = (finding for finding in retry_risks(point(changes), {LLM: load}) if finding.service == LLM)
    assert expected in texts(result.actions), texts(result.actions)


def test_the_limit_of_attempts_is_where_retries_fill_the_capacity() -> None:
    (result,) = (finding for finding in retry_risks(point(HEALTHY), {LLM: 0.5}) if finding.service == LLM)
    _, load, attempts = result.evidence
    assert (load.baseline, attempts.baseline) == (1.0, 2.0)
    assert load.value / load.baseline == pytest.approx(attempts.value / attempts.baseline)


def test_unknown_load_is_no_retry_risk() -> None:
    assert list(retry_risks(point(HEALTHY), {})) == []
    assert list(retry_risks(point(HEALTHY), {LLM: math.nan})) == []


def test_retries_of_an_upstream_layer_cause_a_storm() -> None:
    """The front sends four times the requests; the gateway itself does not retry."""
    changes: Changes = {
        ("attempts", ASK): since(290, 1, 4),
        ("edge_rate", ASK): since(290, 5, 20),
        ("edge_rate", ANSWER): since(290, 5, 20),
        ("attempts", ANSWER): since(290, 1, 1.06),
        ("waiting", LLM): since(290, 0, 400),
        ("finished", LLM): since(290, 5, 8),
        ("generated_tokens", LLM): since(290, 1000, 1600),
        ("error_rate", GATEWAY): since(290, 0, 0.9),
    }
    best = max(retry_storm(point(changes)), key=lambda finding: finding.strength)
    assert best.service == LLM
    assert best.strength > 0.7
    (queue,) = (row for row in best.evidence if row.metric == "waiting")
    assert [queue.value, queue.baseline] == pytest.approx([400, 0], abs=1e-6)
