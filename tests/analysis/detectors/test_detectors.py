"""Detectors find their own faults with the suspected cause, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    BATCH,
    CODE,
    CODER,
    DIRECT,
    FEED,
    FRONT,
    GATEWAY,
    GPU_WAIT_PAIRS,
    GPUS,
    IN,
    LLM,
    POOLS,
    QUERY,
    REPLICAS,
    STORE,
    TENANTS,
    Changes,
    last_point,
    point,
    ramp,
    since,
    world,
)

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.gpu_contention import gpu_contention
from foreshock_dashboard.analysis.detectors.hardware import hardware
from foreshock_dashboard.analysis.detectors.kv_cache_pressure import kv_cache_pressure, limit_batch
from foreshock_dashboard.analysis.detectors.load_imbalance import load_imbalance
from foreshock_dashboard.analysis.detectors.network import network
from foreshock_dashboard.analysis.detectors.outage import outage
from foreshock_dashboard.analysis.detectors.overload import overload
from foreshock_dashboard.analysis.detectors.retry_storm import retry_storm
from foreshock_dashboard.analysis.detectors.scale_up_lag import scale_up_lag
from foreshock_dashboard.analysis.remediation.actions import add_replicas, offered_load
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import BIN_SECONDS, Seasonality
from foreshock_dashboard.render.action import action_clauses, action_text
from foreshock_dashboard.render.clause import joined_text

Detector = Callable[[EvaluationPoint], Iterable[Finding]]
DETECTORS: tuple[Detector, ...] = (
    network, outage, retry_storm, scale_up_lag, kv_cache_pressure, overload, dependency, load_imbalance, hardware,
    gpu_contention,
)  # fmt: skip
NOW = 290
"""Grid index at which faults begin: ten points before the end."""


def slow(service: Service, before: float, after: float) -> Changes:
    return {("p95", service): since(NOW, before, after), ("p50", service): since(NOW, before / 3, after / 3)}


WAITS: Changes = {
    ("waiting", LLM): since(NOW, 0, 80),
    ("first_token", LLM): since(NOW, 0.2, 20),
    **slow(LLM, 8, 30),
    **slow(GATEWAY, 8.5, 31),
    **slow(FRONT, 9, 32),
    ("edge_server", ANSWER): since(NOW, 8, 30),
    ("edge_p95", ANSWER): since(NOW, 8.1, 24),
    ("edge_server", ASK): since(NOW, 8.5, 31),
    ("edge_p95", ASK): since(NOW, 8.6, 31),
}
"""An overloaded language model, of any cause."""
GROWS: Changes = {
    ("generated_tokens", LLM): ramp(200, 280, 1000, 1600),
    **{("edge_rate", edge): ramp(200, 280, 5, 8) for edge in (IN, ASK, ANSWER)},
    ("rate", LLM): ramp(200, 280, 5, 8),
    ("rate", FRONT): ramp(200, 280, 5, 8),
    ("rate", GATEWAY): ramp(200, 280, 5, 8),
    ("cache", LLM): ramp(200, 280, 0.3, 0.95),
    ("running", LLM): ramp(200, 280, 20, 64),
}
STORM: Changes = {
    **WAITS,
    ("edge_rate", ANSWER): since(NOW, 5, 25),
    ("attempts", ANSWER): since(NOW, 1, 5),
    ("edge_error_rate", ANSWER): since(NOW, 0, 1),
    ("finished", LLM): since(NOW, 5, 9),
    ("generated_tokens", LLM): since(NOW, 1000, 1800),
    ("cache", LLM): since(NOW, 0.3, 0.98),
    ("running", LLM): since(NOW, 20, 66),
    ("error_rate", GATEWAY): since(NOW, 0, 0.9),
}
LOSES: Changes = {
    ("retransmitted", "host-1"): since(NOW, 0, 0.3),
    ("retransmitted", "host-3"): since(NOW, 0, 0.05),
    ("edge_p95", ANSWER): since(NOW, 8.1, 16),
    ("edge_p95", FEED): since(NOW, 0.03, 2),
}
SLOW_STORE: Changes = {
    **slow(STORE, 0.03, 2),
    ("edge_server", QUERY): since(NOW, 0.03, 2),
    ("edge_server", FEED): since(NOW, 0.03, 2),
    ("edge_p95", QUERY): since(NOW, 0.03, 1),
    ("edge_p95", FEED): since(NOW, 0.03, 2),
    ("edge_error_rate", QUERY): since(NOW, 0, 0.4),
    ("error_rate", FRONT): since(NOW, 0, 0.15),
    **slow(FRONT, 9, 13),
}
NEIGHBOR: Changes = {
    **{("busy", tenant): since(NOW, *((0.2, 0.7) if tenant.service == BATCH else (0.6, 0.3))) for tenant in TENANTS},
    **{("gpu_wait_by", pair): since(NOW, 0.02, 0.6) for pair in GPU_WAIT_PAIRS},
    **{("utilization", gpu): since(NOW, 0.8, 1.0) for gpu in GPUS},
    **slow(LLM, 8, 16),
}


class Case(NamedTuple):
    """A fault and the expected finding. host, pool: of the suspected cause."""

    name: str
    changes: Changes
    detector: Detector
    service: Service
    cause: str
    suspect: Service
    edge: tuple[Service, Service] | None = None
    host: str = ""
    pool: str = ""


CASES = (
    Case("packets are lost at a host", LOSES, network, GATEWAY, "network", GATEWAY, ANSWER[:2], "host-1"),
    Case("a neighbor takes GPU time", NEIGHBOR, gpu_contention, LLM, "gpu_contention", BATCH),
    Case("retries keep a model down", STORM, retry_storm, LLM, "retry_storm", LLM, ANSWER[:2]),
    Case(
        "the quota is used up",
        {
            **WAITS,
            **GROWS,
            ("wanted", LLM): since(285, 2, 5),
            ("pending", LLM): since(285, 0, 3),
            ("ready", LLM): since(285, 2, 3),
            ("used", POOLS[0]): since(285, 2, 4),
        },
        scale_up_lag,
        LLM,
        "scale_up_lag",
        FRONT,
        pool=POOLS[0],
    ),
    Case(
        "prompts became longer",
        {
            **WAITS,
            ("cache", LLM): ramp(220, 290, 0.3, 0.96),
            ("running", LLM): ramp(220, 290, 20, 32),
            ("preempted", LLM): since(NOW, 0, 0.3),
            ("prompt_tokens", LLM): ramp(220, 290, 5000, 12000),
        },
        kv_cache_pressure,
        LLM,
        "kv_cache_pressure",
        FRONT,
    ),
    Case("the request rate grows", {**WAITS, **GROWS}, overload, LLM, "overload", FRONT),
    Case("a store is slow", SLOW_STORE, dependency, FRONT, "dependency", STORE, QUERY[:2]),
    Case(
        "one replica is slow",
        {
            ("replica_seconds", REPLICAS[1]): since(280, 4, 14),
            ("replica_busy", REPLICAS[1]): since(280, 10, 28),
            **slow(LLM, 8, 20),
        },
        load_imbalance,
        LLM,
        "hardware",
        LLM,
        host="host-2",
    ),
    Case(
        "one replica has nearly all requests",
        {
            ("replica_busy", REPLICAS[0]): since(280, 10, 60),
            ("replica_busy", REPLICAS[1]): since(280, 10, 1),
            ("replica_seconds", REPLICAS[0]): since(280, 4, 5),
            **slow(LLM, 8, 20),
        },
        load_imbalance,
        LLM,
        "load_imbalance",
        LLM,
        host="host-1",
    ),
    Case(
        "a GPU is throttled",
        {
            ("clock", GPUS[0]): since(NOW, 1, 0.55),
            ("throttled", GPUS[0]): since(NOW, 0, 0.9),
            ("per_token", LLM): since(NOW, 0.02, 0.035),
            **slow(LLM, 8, 14),
        },
        hardware,
        LLM,
        "hardware",
        LLM,
        host="host-1",
    ),
    Case(
        "a GPU is lost with its replica",
        {
            ("lost", GPUS[1]): since(NOW, 0, 1),
            ("ready", LLM): since(NOW, 2, 1),
            **slow(LLM, 8, 30),
        },
        hardware,
        LLM,
        "hardware",
        LLM,
        host="host-2",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_found_with_its_suspected_cause(case: Case) -> None:
    findings = [finding for finding in case.detector(point(case.changes)) if finding.service == case.service]
    best = max(findings, key=lambda finding: finding.strength)
    assert best.strength > 0.8
    assert (best.cause, best.suspect.service) == (case.cause, case.suspect)
    assert (best.suspect.edge, best.suspect.host, best.suspect.pool) == (case.edge, case.host, case.pool)
    assert best.severity > 1
    assert best.evidence
    assert best.actions
    assert all(map(action_text, best.actions))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_finding_begins_with_its_fault(case: Case) -> None:
    best = max(case.detector(now := point(case.changes)), key=lambda finding: finding.strength)
    first = min(index for index in (200, 220, 280, 285, NOW) if _differs(case.changes, index))
    assert now.world.times[first] - 60 <= best.since <= now.time


@pytest.mark.parametrize(("preemptions", "limits"), [(0.3, [50]), (0.0, [])])
def test_a_batch_is_limited_only_where_requests_are_preempted(preemptions: float, limits: list[int]) -> None:
    """To what the cache of each of two replicas holds, with its use then as the effect."""
    case = next(case for case in CASES if case.cause == "kv_cache_pressure")
    (finding,) = kv_cache_pressure(point({**case.changes, ("preempted", LLM): since(NOW, 0, preemptions)}))
    found = [action for action in finding.actions if action.kind == "limit_batch"]
    assert [action.amount for action in found] == limits
    for action in found:
        assert action.amount < action.current
        assert action.effect is not None
        assert action.effect.projected == pytest.approx(action.effect.now * action.amount / action.current)


def test_a_full_kv_cache_gets_a_number_of_replicas() -> None:
    """They have a command, and one that takes them back."""
    case = next(case for case in CASES if case.cause == "kv_cache_pressure")
    (finding,) = kv_cache_pressure(point(case.changes))
    added = finding.actions[-1]
    assert (added.kind, added.service, added.current) == ("add_replicas", LLM, 2)
    assert added.amount >= 1


def test_without_a_count_of_running_requests_no_batch_is_limited() -> None:
    """The scrape that has the cache may lack it."""
    case = next(case for case in CASES if case.cause == "kv_cache_pressure")
    preempting = {("preempted", LLM): since(NOW, 0, 0.3), ("running", LLM): since(NOW, 20, math.nan)}
    assert limit_batch(point({**case.changes, **preempting}), LLM) == ()


def _differs(changes: Changes, index: int) -> bool:
    """Whether any value changes in the ten minutes after the index."""
    return any(callable(shape) and shape(index + 30) != shape(index - 1) for shape in changes.values())


OTHERS: tuple[tuple[str, Changes], ...] = (
    ("healthy", {}),
    ("a fault with a fallback in the callers",
     {("edge_error_rate", QUERY): since(NOW, 0, 0.35), ("error_rate", STORE): since(NOW, 0, 0.35),
      ("attempts", QUERY): since(NOW, 1, 1.35)}),
    ("a deploy that makes a store a fifth slower",
     {**slow(STORE, 0.03, 0.036), ("edge_server", QUERY): since(NOW, 0.03, 0.036)}),
    ("a busy link", {("retransmitted", "host-1"): since(NOW, 0, 0.008)}),
    ("a host that loses packets of batch work alone",
     {("retransmitted", "host-1"): since(NOW, 0, 0.3), ("edge_p95", FEED): since(NOW, 0.03, 2)}),
    ("more load than at baseline, with headroom",
     {("edge_rate", IN): ramp(200, 280, 5, 8), ("edge_rate", ASK): ramp(200, 280, 5, 8),
      ("edge_rate", ANSWER): ramp(200, 280, 5, 8), ("generated_tokens", LLM): ramp(200, 280, 1000, 1500),
      ("cache", LLM): ramp(200, 280, 0.3, 0.42)}),
    ("two requests per minute above the baseline",
     {("edge_rate", CODE): ramp(200, 280, 0.06, 0.1), ("rate", CODER): ramp(200, 280, 0.06, 0.1),
      **slow(CODER, 2, 20)}),
    ("an autoscaler that adds a replica in time",
     {("wanted", LLM): since(NOW, 2, 3), ("pending", LLM): since(NOW, 0, 1)}),
    ("a replica that is restarted", {("ready", LLM): since(NOW, 2, 1)}),
    ("a GPU that reports an error and works on", {("errors", GPUS[0]): since(NOW, 0, 0.02)}),
    ("a throttled GPU with spare time",
     {("throttled", GPUS[0]): since(NOW, 0, 0.6), ("clock", GPUS[0]): since(NOW, 1, 0.8)}),
    ("a constant 3% of retries", {("attempts", ANSWER): 1.03, ("edge_error_rate", ANSWER): 0.03}),
    ("uneven load of a few requests",
     {("replica_busy", REPLICAS[0]): since(NOW, 2, 3), ("replica_busy", REPLICAS[1]): since(NOW, 2, 0)}),
)  # fmt: skip


@pytest.mark.parametrize("changes", [changes for _, changes in OTHERS], ids=[name for name, _ in OTHERS])
def test_harmless_changes_have_no_finding(changes: Changes) -> None:
    now = point(changes)
    likely = [finding for detect in DETECTORS for finding in detect(now) if finding.strength > 0.5]
    assert likely == []


EXPLAINED: tuple[tuple[str, Changes, Detector], ...] = (
    ("an overload is no storm while first attempts grow",
     {**STORM, **GROWS, ("edge_rate", ANSWER): since(NOW, 5, 40)}, retry_storm),
    ("an overload is no storm while the model cannot serve first attempts",
     {**STORM, ("finished", LLM): since(NOW, 5, 2)}, retry_storm),
    ("an overload is no storm while a neighbor takes the GPUs",
     {**STORM, **{("busy", tenant): since(NOW, 0.6, 0.3) for tenant in TENANTS if tenant.service == LLM}},
     retry_storm),
    ("a model with idle GPUs is not kept down by retries",
     {**STORM, **{("utilization", gpu): since(NOW, 0.8, 0.1) for gpu in GPUS}}, retry_storm),
    ("an overload after growth of requests is no storm",
     {**STORM, ("generated_tokens", LLM): ramp(240, 280, 1000, 1800)}, retry_storm),
    ("retries of a fault without a queue are no storm",
     {**SLOW_STORE, ("attempts", QUERY): since(NOW, 1, 1.4), ("edge_rate", QUERY): since(NOW, 5, 6)}, retry_storm),
    ("missing replicas of a squeezed model are no lag",
     {**WAITS, ("wanted", LLM): since(NOW, 2, 4), ("pending", LLM): since(NOW, 0, 2),
      **{("busy", tenant): since(NOW, 0.6, 0.3) for tenant in TENANTS if tenant.service == LLM}}, scale_up_lag),
    ("retries are no overload", STORM, overload),
    ("a server that reports only its fast answers is not behind a slow network",
     {**STORM, ("edge_server", ASK): since(NOW, 8.5, 0.02), ("p95", GATEWAY): since(NOW, 8.5, 0.02),
      ("edge_p95", ASK): since(NOW, 8.6, 32)}, network),
    ("a service that waits for another is no cause itself",
     {**SLOW_STORE, **slow(GATEWAY, 8.5, 9)}, lambda now: tuple(
         finding for finding in dependency(now) if finding.suspect.service != STORE)),
    ("a model with a noisy neighbor is no faulty dependency",
     {**slow(LLM, 8, 20), ("edge_server", ANSWER): since(NOW, 8, 20), ("edge_p95", ANSWER): since(NOW, 8.1, 20),
      **slow(GATEWAY, 8.5, 20.5), **{("gpu_wait_by", pair): since(NOW, 0.02, 0.5)
       for pair in GPU_WAIT_PAIRS}}, dependency),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "detector"), [case[1:] for case in EXPLAINED], ids=[case[0] for case in EXPLAINED])
def test_a_detector_ignores_faults_with_another_cause(changes: Changes, detector: Detector) -> None:
    assert [finding for finding in detector(point(changes)) if finding.strength > 0.5] == []


def test_a_slow_callee_is_found_before_its_callers_fail() -> None:
    """Retries still hide from users that more and more queries time out."""
    changes = {
        **SLOW_STORE,
        ("edge_error_rate", QUERY): since(NOW, 0, 0.07),
        ("error_rate", FRONT): 0.0,
        **slow(FRONT, 9, 9.5),
    }
    best = max(dependency(point(changes)), key=lambda finding: finding.strength)
    assert best.suspect.service == STORE
    assert 0.5 < best.strength < 0.9


def test_seasonal_growth_is_expected() -> None:
    """Its action is to add replicas, not to limit callers."""
    now = point({**WAITS, **GROWS})
    best = max(overload(now), key=lambda finding: finding.strength)
    assert best.strength > 0.8
    assert not best.expected

    seasonal = EvaluationPoint(replace(now.world, season=seasonality(now, 1.6)), now.column, now.baselines)
    best = next(finding for finding in overload(seasonal) if finding.service == best.service)
    assert best.strength > 0.8
    assert best.expected
    assert best.suspect.service == best.service
    assert f"Add replicas of {best.service} before" in action_text(best.actions[0])
    assert any(finding.baseline == 1.6 for finding in best.evidence)

    more = EvaluationPoint(replace(now.world, season=seasonality(now, 1.1)), now.column, now.baselines)
    best = max(overload(more), key=lambda finding: finding.strength)
    assert best.strength > 0.8
    assert not best.expected


def seasonality(now: EvaluationPoint, growth: float) -> Seasonality:
    """The same growth of all services at the current time."""
    rows = {service: row for row, service in enumerate(now.world.services)}
    return Seasonality(rows, np.array([now.time // BIN_SECONDS * BIN_SECONDS]), np.full((len(rows), 1), growth))


def test_an_overload_is_found_before_requests_finish() -> None:
    """The load exceeds the capacity, although tokens and requests are still at their baseline."""
    unchanged: Changes = {**WAITS, ("first_token", LLM): 0.2, ("waiting", LLM): 0.0, ("p95", LLM): 8.0}
    assert [finding for finding in overload(point(unchanged)) if finding.strength > 0.5] == []
    full = Utilization(1.0, 0.0, 0.6, 0.0, 60.0, 0.8, (1.1, 0.7, 0.6), 0.5, 0.7)
    best = max(overload(point(unchanged, utilization=full)), key=lambda finding: finding.strength)
    assert best.service == LLM
    assert best.severity == pytest.approx(1.1 / 0.5)
    assert best.strength > 0.9
    limited = best.actions[0]
    assert limited.effect is not None
    assert limited.effect.projected == pytest.approx(0.8 / 2.2)
    assert limited.effect.is_enough
    slowed = replace(full, slowdown=1.5)
    assert [finding for finding in overload(point(unchanged, utilization=slowed)) if finding.strength > 0.5] == []


@pytest.mark.parametrize(
    ("growth", "pool", "expected"),
    [
        (1.6, (), "Scale serving/llm from 2 to 3 replicas"),
        (2.8, (), "Scale serving/llm from 2 to 4 replicas"),
        (2.8, ("chat", "chat"), "Scale serving/llm from 2 to 4 replicas in GPU pool chat"),
        (2.8, ("chat", "code"), "Scale serving/llm from 2 to 4 replicas"),
        (np.nan, ("chat", "chat"), "Add replicas of serving/llm in GPU pool chat"),
        (1e30, (), "Add replicas of serving/llm"),
    ],
)
def test_the_number_of_replicas_to_add_is_named_if_known(growth: float, pool: tuple[str, ...], expected: str) -> None:
    """The load per replica is then at most the safe limit; a backlog of 40 times the capacity is ignored."""
    full = Utilization(1.0, 0.0, 0.6, 0.0, 60.0, 40.0, (40.0,) * 3, 0.5, 0.7)
    pooled = replace(world(), pool=pool)
    now = last_point(pooled, full)
    assert joined_text(action_clauses(add_replicas(now, LLM, offered_load(now, LLM, growth)))) == expected


def test_growth_of_batch_work_is_attributed_to_it() -> None:
    changes: Changes = {
        ("edge_rate", FEED): ramp(200, 280, 1, 9),
        ("rate", STORE): ramp(200, 280, 6, 14),
        **slow(STORE, 0.03, 0.3),
    }
    best = next(finding for finding in overload(point(changes)) if finding.service == STORE)
    assert best.suspect.service == BATCH
    assert best.strength > 0.8


def test_growth_is_followed_through_a_gateway_by_forwarded_calls() -> None:
    """The front's calls grow more, but only direct requests to the gateway go to the coder."""
    waves = {
        edge: lambda i, period=period, rate=rate: rate * (1 + 0.3 * math.sin(i / period))
        for edge, period, rate in ((ASK, 7, 5), (DIRECT, 11, 2))
    }
    changes: Changes = {
        ("edge_rate", ASK): lambda i: waves[ASK](i) + ramp(270, 290, 0, 6)(i),
        ("edge_rate", ANSWER): lambda i: waves[ASK](i) + ramp(270, 290, 0, 6)(i),
        ("edge_rate", DIRECT): lambda i: waves[DIRECT](i) + ramp(270, 290, 0, 3)(i),
        ("edge_rate", CODE): lambda i: waves[DIRECT](i) + ramp(270, 290, 0, 3)(i),
        ("rate", CODER): lambda i: waves[DIRECT](i) + ramp(270, 290, 0, 3)(i),
        **slow(CODER, 2, 20),
    }
    best = next(finding for finding in overload(point(changes)) if finding.service == CODER)
    assert best.suspect.service == GATEWAY


def test_slow_edges_are_found_without_host_counters() -> None:
    silent = {("retransmitted", host): float("nan") for host in ("host-1", "host-2", "host-3")}
    best = max(
        network(point({**silent, ("edge_p95", QUERY): since(NOW, 0.03, 0.5)})), key=lambda finding: finding.strength
    )
    assert (best.service, best.suspect.edge) == (FRONT, QUERY[:2])
    assert 0.5 < best.strength < 0.8
