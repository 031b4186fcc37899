"""Findings are defined for any data, and do not depend on the order of rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.detectors.platform import (
    ANSWER,
    BASELINE,
    GPUS,
    LLM,
    Changes,
    last_point,
    point,
    since,
    texts,
    world,
)
from tests.analysis.detectors.test_detectors import CASES, DETECTORS, LOSES, NEIGHBOR, SLOW_STORE, STORM, Case

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.retry_risk import retry_risks
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Red, World
from foreshock_dashboard.model.world_sections import Capacity, Hardware, ModelServers, Network

VALUES = [(name, key) for name, values in BASELINE.items() for key in values]
SHARES = {"error_rate", "edge_error_rate", "busy", "gpu_wait_by", "cache", "nic", "retransmitted", "clock", "throttled"}


def all_findings(now: EvaluationPoint) -> tuple[Finding, ...]:
    findings = [finding for detect in DETECTORS for finding in detect(now)]
    return (*findings, *retry_risks(now, {LLM: 0.5}))


def assert_defined(now: EvaluationPoint) -> None:
    for finding in all_findings(now):
        assert 0 <= finding.strength <= 1
        assert finding.severity >= 1
        assert math.isfinite(finding.severity)
        assert now.world.times[0] <= finding.since <= now.time
        assert all(math.isfinite(figure.value) for figure in finding.evidence)
        assert finding.actions
        assert "nan" not in texts(finding.actions)


def shapes(name: str) -> st.SearchStrategy[Callable[[int], float]]:
    """A value that is missing, constant, ends, begins, jumps, or has gaps."""
    most = 1.0 if name in SHARES or name == "lost" else 1e5
    values = st.one_of(st.just(0.0), st.floats(1e-6, most))
    at = st.integers(0, 60)
    return st.one_of(
        st.just(lambda _: math.nan),
        values.map(lambda value: lambda _: value),
        st.tuples(at, values).map(lambda pair: since(pair[0], pair[1], math.nan)),
        st.tuples(at, values).map(lambda pair: since(pair[0], math.nan, pair[1])),
        st.tuples(at, values, values).map(lambda three: since(*three)),
        st.tuples(st.integers(2, 9), values).map(lambda pair: lambda i: pair[1] if i % pair[0] == 0 else math.nan),
    )


@st.composite
def change_sets(draw: st.DrawFn) -> Changes:
    keys = draw(st.lists(st.sampled_from(VALUES), max_size=25, unique_by=str))
    return {(name, key): draw(shapes(name)) for name, key in keys}


@given(change_sets(), st.sampled_from([1, 2, 20, 60]))
def test_any_values_give_defined_findings(changes: Changes, points: int) -> None:
    assert_defined(point(changes, points))


@pytest.mark.parametrize("points", [1, 2, 19, 24])
def test_a_short_history_has_no_finding(points: int) -> None:
    now = point({("p95", LLM): since(points - 1, 8, 80), ("waiting", LLM): since(points - 1, 0, 90)}, points)
    assert [finding for finding in all_findings(now) if finding.strength > 0.5] == []


@pytest.mark.parametrize("missing", ["model_servers", "capacity", "network", "hardware"])
def test_a_missing_section_leaves_findings_defined(missing: str) -> None:
    for case in CASES:
        whole = world(case.changes)
        built = dataclasses.replace(whole, **{missing: None})  # type: ignore[arg-type] # these may be None
        assert_defined(last_point(built))


def test_edges_suffice_for_dependency_findings() -> None:
    whole = world(SLOW_STORE)
    n = len(whole.times)
    none = np.empty((0, n))
    bare = dataclasses.replace(
        whole, gpus=(), tenants=(), gpu_wait_pairs=(), busy=none, gpu_wait=none, memory=none, gpu_wait_by=none,
        utilization=none, contended=none, memory_used=none, memory_total=none, power=none, temperature=none,
        model_servers=None, capacity=None, network=None, hardware=None,
    )  # fmt: skip
    now = last_point(bare)
    assert max(finding.strength for finding in all_findings(now) if finding.cause == "dependency") > 0.8


def test_an_empty_world_has_no_finding() -> None:
    n = 60
    none = np.empty((0, n))
    empty = dataclasses.replace(
        world(points=n), services=(), red=Red.empty(0, n), edges=(), calls=Red.empty(0, n), server_p95=none,
        attempts=none, gpus=(), tenants=(), gpu_wait_pairs=(), busy=none, gpu_wait=none, memory=none, gpu_wait_by=none,
        utilization=none, contended=none, memory_used=none, memory_total=none, power=none, temperature=none,
        model_servers=ModelServers.empty(n), capacity=Capacity.empty(n), network=Network.empty(n),
        hardware=Hardware.empty(0, n),
    )  # fmt: skip
    assert all_findings(last_point(empty)) == ()


def comparable(findings: tuple[Finding, ...]) -> list[tuple[Any, ...]]:
    """Fields of findings that depend only on the platform."""
    return sorted(
        (finding.cause, str(finding.service), str(finding.suspect), round(finding.strength, 9), finding.since)
        for finding in findings
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_findings_do_not_depend_on_row_order(case: Case) -> None:
    built = world(case.changes)
    assert comparable(all_findings(last_point(built))) == comparable(all_findings(last_point(permuted(built))))


def permuted(built: World) -> World:
    """The same World, its services, edges, GPUs, tenants, hosts and pools in another order."""
    services, edges, gpus = (np.arange(len(rows))[::-1] for rows in (built.services, built.edges, built.gpus))
    tenants = np.random.default_rng(1).permutation(len(built.tenants))
    assert built.network
    assert built.hardware
    assert built.capacity
    hosts, pools = np.roll(np.arange(len(built.network.hosts)), 1), np.arange(len(built.capacity.pools))[::-1]

    def red(rows: Red, order: np.ndarray) -> Red:
        return Red(*(getattr(rows, name)[order] for name in ("rate", "error_rate", "p50", "p95", "p99")))

    net, health, cluster = built.network, built.hardware, built.capacity
    return dataclasses.replace(
        built,
        services=tuple(built.services[i] for i in services),
        red=red(built.red, services),
        edges=tuple(built.edges[i] for i in edges),
        calls=red(built.calls, edges),
        server_p95=built.server_p95[edges],
        attempts=built.attempts[edges],
        gpus=tuple(built.gpus[i] for i in gpus),
        utilization=built.utilization[gpus],
        tenants=tuple(built.tenants[i] for i in tenants),
        busy=built.busy[tenants],
        gpu_wait_pairs=built.gpu_wait_pairs[::-1],
        gpu_wait_by=built.gpu_wait_by[::-1],
        network=Network(
            tuple(net.hosts[i] for i in hosts),
            *(
                getattr(net, name)[hosts]
                for name in ("used", "bytes", "retransmitted", "timeouts", "dropped", "memory")
            ),
        ),
        hardware=Hardware(*(getattr(health, name)[gpus] for name in ("clock", "throttled", "errors", "lost"))),
        capacity=dataclasses.replace(
            cluster,
            pools=tuple(cluster.pools[i] for i in pools),
            quota=cluster.quota[pools],
            used=cluster.used[pools],
        ),
    )


@pytest.mark.parametrize(
    "changes", [LOSES, STORM, SLOW_STORE, NEIGHBOR], ids=["loses", "storm", "slow store", "neighbor"]
)
def test_a_service_without_data_changes_nothing(changes: Changes) -> None:
    built = world(changes)
    n = len(built.times)
    quiet = np.full((1, n), np.nan)
    more = dataclasses.replace(
        built,
        services=(*built.services, Service("zz", "silent")),
        red=Red(
            *(np.vstack([getattr(built.red, name), quiet]) for name in ("rate", "error_rate", "p50", "p95", "p99"))
        ),
    )
    one, two = (all_findings(last_point(world_)) for world_ in (built, more))
    assert comparable(one) == comparable(two)


@pytest.mark.parametrize("case", [case for case in CASES if case.cause != "retry_storm"], ids=lambda case: case.name)
@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_findings_do_not_depend_on_the_scale_of_durations(case: Case, factor: float) -> None:
    """All durations scaled, as other hardware would."""
    built = world(case.changes)
    assert built.model_servers
    scaled = dataclasses.replace(
        built,
        red=dataclasses.replace(
            built.red, **{name: factor * getattr(built.red, name) for name in ("p50", "p95", "p99")}
        ),
        calls=dataclasses.replace(
            built.calls, **{name: factor * getattr(built.calls, name) for name in ("p50", "p95", "p99")}
        ),
        server_p95=factor * built.server_p95,
        model_servers=dataclasses.replace(
            built.model_servers,
            **{
                name: factor * getattr(built.model_servers, name)
                for name in ("first_token", "per_token", "queued", "replica_seconds")
            },
        ),
    )
    one, two = (all_findings(last_point(world_)) for world_ in (built, scaled))
    relevant = [
        [row for row in comparable(findings) if row[0] == case.cause and row[3] > 0.5] for findings in (one, two)
    ]
    assert relevant[0] == relevant[1]


def test_errors_of_unused_gpus_have_no_finding() -> None:
    built = world({("errors", GPUS[0]): since(290, 0, 1)})
    n = len(built.times)
    none = np.empty((0, n))
    idle = dataclasses.replace(built, tenants=(), busy=none, gpu_wait=none, memory=none)
    assert [finding for finding in all_findings(last_point(idle)) if finding.cause == "hardware"] == []


def test_an_edge_that_loses_its_data_has_no_finding() -> None:
    now = point({("edge_server", ANSWER): since(285, 8, math.nan), ("edge_p95", ANSWER): since(285, 8.1, math.nan)})
    assert [finding for finding in all_findings(now) if finding.strength > 0.5] == []
