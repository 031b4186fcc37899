"""Retries are told from what is really asked, along whole chains of callers; loops are found while all is well."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.causes.made import ANSWER, ASK, CODE, DIRECT, GATEWAY, IN, LLM, Bent, point, since

from foreshock_dashboard.analysis.baseline.retry_amplification import amplification, request_rates
from foreshock_dashboard.analysis.detectors.retry_risk import (
    DEFAULT_ATTEMPTS,
    INFERRED_CONFIDENCE,
    OBSERVED_CONFIDENCE,
    retry_loops,
    retry_risks,
    timeout_seconds,
)
from foreshock_dashboard.analysis.detectors.retry_storm import lagged_slope, loop_gain, retry_storms
from foreshock_dashboard.render.action import action_text
from foreshock_dashboard.stats.metastability import MAX_ATTEMPTS
from foreshock_dashboard.stats.robust import nan_mean

CALM: Bent = {
    ("attempts", ANSWER): lambda i: 1.02 if i % 40 == 0 else 1.0,
    ("edge_failed", ANSWER): lambda i: 0.02 if i % 40 == 0 else 0.0,
    ("edge_p95", ANSWER): lambda i: 15.0 if i % 40 == 0 else 8.1,
}
"""Now and then a request is given up after 18 s and tried again."""


def test_attempts_multiply_along_a_chain() -> None:
    alone = {("edge_rate", DIRECT): 0, ("edge_rate", CODE): 0}
    tried = {("attempts", ASK): 2.0, ("attempts", ANSWER): 3.0}
    now = point({**alone, **tried, ("edge_rate", ASK): 10, ("edge_rate", ANSWER): 30})
    found = request_rates(now)
    row = {edge: i for i, edge in enumerate(now.world.edges)}
    assert found.first[row[ANSWER]] == pytest.approx(10)
    assert found.fresh[row[ANSWER]] == pytest.approx(5)
    assert found.fresh[row[IN]] == pytest.approx(5)
    assert found.retried([row[ANSWER]]) == pytest.approx(2)
    assert found.real([row[ANSWER]]) == pytest.approx(1 / 6)


def test_calls_in_a_circle_have_an_answer() -> None:
    client, server = np.array([0, 1, 2]), np.array([1, 2, 1])
    found = amplification(client, server, np.array([5.0, 5.0, 5.0]), np.array([1.0, 2.0, 2.0]), 3)
    assert np.isfinite(found).all()
    assert (found >= 1).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0, 1e4), st.floats(1, 9)), min_size=1, max_size=20
    )
)
def test_no_graph_gives_fewer_than_one_attempt(edges: list[tuple[int, int, float, float]]) -> None:
    client, server, offered, attempts = (np.array(column) for column in zip(*edges, strict=True))
    found = amplification(client.astype(np.intp), server.astype(np.intp), offered.astype(float), attempts, 6)
    assert np.isfinite(found).all()
    assert (found >= 1 - 1e-9).all()


def test_means_leave_out_what_is_missing() -> None:
    assert nan_mean(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])) == pytest.approx([2.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.5])
def test_the_gain_is_how_much_each_wave_brings_the_next(factor: float) -> None:
    """Retries three points later are `factor` of the attempts."""
    offered = 10 + np.random.default_rng(3).normal(size=60).cumsum()
    retried = np.concatenate([np.zeros(3), factor * offered[:-3]])
    assert lagged_slope(offered, retried, 3) == pytest.approx(factor)


@pytest.mark.parametrize("offered", [[], [5.0] * 30, [math.nan] * 30, [1.0, 2.0, 3.0]])
def test_where_nothing_varies_there_is_no_gain(offered: list[float]) -> None:
    assert math.isnan(lagged_slope(np.array(offered), np.array(offered), 3))


def test_the_gain_of_a_calm_edge_is_none() -> None:
    now = point()
    assert math.isnan(loop_gain(now, now.into[LLM]))


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
def test_a_clients_patience_shows_when_it_runs_out(p99: list[float], failed: list[float], seconds: float) -> None:
    """Not where a few in a thousand fail: p99 is of those that were answered."""
    assert timeout_seconds(np.array(p99), np.array(failed)) == pytest.approx(seconds, nan_ok=True)


def test_a_client_that_retried_once_is_taken_to_try_as_often_as_most() -> None:
    seen = retry_loops(point(CALM), {LLM: 0.4})[LLM]
    assert seen.loop.attempts == pytest.approx(DEFAULT_ATTEMPTS)
    assert seen.loop.timeout == pytest.approx(18.0)
    assert seen.confidence == INFERRED_CONFIDENCE


def test_attempts_that_were_seen_count_for_more() -> None:
    seen = retry_loops(point({**CALM, ("attempts", ANSWER): lambda i: 3.4 if i == 100 else 1.0}), {LLM: 0.4})[LLM]
    assert seen.loop.attempts == pytest.approx(4.0)
    assert seen.confidence == OBSERVED_CONFIDENCE


def test_attempts_that_multiply_for_ever_are_told_as_many_times_the_capacity_and_no_more() -> None:
    """As they would in a cycle of callers."""
    often = {("attempts", each): lambda i: 9.0 if i == 100 else 1.0 for each in (ASK, ANSWER)}
    seen = retry_loops(point({**CALM, **often}), {LLM: 0.4})[LLM]
    assert seen.loop.attempts == MAX_ATTEMPTS


def test_who_never_retried_makes_no_loop() -> None:
    assert retry_loops(point(), {LLM: 0.4}) == {}


@pytest.mark.parametrize(("load", "least", "most"), [(0.2, 0.0, 0.1), (0.5, 0.5, 0.75), (0.8, 0.7, 0.75)])
def test_a_calm_service_is_called_vulnerable_by_its_load(load: float, least: float, most: float) -> None:
    found = retry_risks(point(CALM), {LLM: load})
    strength = max((each.strength for each in found), default=0.0)
    assert least <= strength <= most
    assert all(each.suspect.edge == ANSWER[:2] and not each.urgent for each in found)


@pytest.mark.parametrize(
    ("load", "bent", "told"),
    [
        pytest.param(
            0.5, CALM, "28 s without capacity would keep it down, with the budget not even 120 s",
            id="a tenth more than half of the capacity fits in it",
        ),
        pytest.param(
            0.99, CALM, "6 s without capacity would keep it down, with the budget 9 s",
            id="a tenth more than nearly all of it does not",
        ),
        pytest.param(
            0.8, {**CALM, ("attempts", ASK): lambda i: 2.0 if i % 40 == 0 else 1.0},
            "13 s without capacity would keep it down",
            id="where those further out still try three times it is not told",
        ),
    ],
)  # fmt: skip
def test_it_is_told_how_long_a_loss_would_be_survived_with_a_retry_budget(load: float, bent: Bent, told: str) -> None:
    (found,) = (each for each in retry_risks(point(bent), {LLM: load}) if each.service == LLM)
    assert action_text(found.action).endswith(told), action_text(found.action)


def test_services_of_unknown_load_are_not_called_vulnerable() -> None:
    assert list(retry_risks(point(CALM), {})) == []
    assert list(retry_risks(point(CALM), {LLM: math.nan})) == []


def test_retries_of_all_layers_make_a_storm_of_the_last() -> None:
    """The gateway itself tries once; it is the front that asks four times as often."""
    bent: Bent = {
        ("attempts", ASK): since(290, 1, 4),
        ("edge_rate", ASK): since(290, 5, 20),
        ("edge_rate", ANSWER): since(290, 5, 20),
        ("attempts", ANSWER): since(290, 1, 1.06),
        ("waiting", LLM): since(290, 0, 400),
        ("finished", LLM): since(290, 5, 8),
        ("generated_tokens", LLM): since(290, 1000, 1600),
        ("failed", GATEWAY): since(290, 0, 0.9),
    }
    best = max(retry_storms(point(bent)), key=lambda each: each.strength)
    assert best.service == LLM
    assert best.strength > 0.7
