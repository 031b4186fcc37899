"""Whatever a platform tells or fails to tell, each kind of analysis gives a defined answer that depends on no order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.causes.made import ANSWER, GPUS, LLM, ORDINARY, Bent, point, since, world
from tests.analysis.causes.test_causes import CASES, DETECTORS, LOSES, SLOW_STORE, STORM, Case

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.retry_risk import retry_risks
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Red, World
from foreshock_dashboard.model.world_sections import Capacity, Hardware, ModelServers, Network
from foreshock_dashboard.render.action import action_text

FIGURES = [(name, key) for name, values in ORDINARY.items() for key in values]
SHARES = {"failed", "edge_failed", "busy", "stalled_by", "cache", "nic", "retransmitted", "clock", "throttled"}


def everything(now: EvaluationPoint) -> tuple[Finding, ...]:
    found = [each for detect in DETECTORS for each in detect(now)]
    return (*found, *retry_risks(now, {LLM: 0.5}))


def assert_defined(now: EvaluationPoint) -> None:
    for each in everything(now):
        assert 0 <= each.strength <= 1
        assert each.severity >= 1
        assert math.isfinite(each.severity)
        assert now.world.times[0] <= each.since <= now.time
        assert all(math.isfinite(figure.value) for figure in each.evidence)
        assert action_text(each.action)


def shapes(name: str) -> st.SearchStrategy[Callable[[int], float]]:
    """A figure that is never told, constant, breaks off, appears, jumps, or is told now and then."""
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
def bents(draw: st.DrawFn) -> Bent:
    which = draw(st.lists(st.sampled_from(FIGURES), max_size=25, unique_by=str))
    return {(name, key): draw(shapes(name)) for name, key in which}


@given(bents(), st.sampled_from([1, 2, 20, 60]))
@settings(deadline=None, max_examples=150)
def test_any_figures_give_a_defined_answer(bent: Bent, points: int) -> None:
    assert_defined(point(bent, points))


@pytest.mark.parametrize("points", [1, 2, 19, 24])
def test_a_history_too_short_names_nothing(points: int) -> None:
    now = point({("p95", LLM): since(points - 1, 8, 80), ("waiting", LLM): since(points - 1, 0, 90)}, points)
    assert [each for each in everything(now) if each.strength > 0.5] == []


@pytest.mark.parametrize("missing", ["model_servers", "capacity", "network", "hardware"])
def test_a_source_that_tells_nothing_costs_only_itself(missing: str) -> None:
    for case in CASES:
        whole = world(case.bent)
        made = dataclasses.replace(whole, **{missing: None})  # type: ignore[arg-type] # these may be None
        assert_defined(EvaluationPoint(made, made.times.size - 1, baselines_at(made, made.times.size - 1)))


def test_without_gpus_and_model_servers_edges_still_tell() -> None:
    whole = world(SLOW_STORE)
    n = len(whole.times)
    none = np.empty((0, n))
    bare = dataclasses.replace(
        whole, gpus=(), tenants=(), stalls=(), busy=none, stalled=none, memory=none, stalled_by=none, utilization=none,
        contended=none, memory_used=none, memory_total=none, power=none, temperature=none,
        model_servers=None, capacity=None, network=None, hardware=None,
    )  # fmt: skip
    now = EvaluationPoint(bare, n - 1, baselines_at(bare, n - 1))
    assert max(each.strength for each in everything(now) if each.cause == "dependency") > 0.8


def test_a_world_of_nothing_names_nothing() -> None:
    n = 60
    none = np.empty((0, n))
    empty = dataclasses.replace(
        world(points=n), services=(), red=Red.empty(0, n), edges=(), calls=Red.empty(0, n), server_p95=none,
        attempts=none, gpus=(), tenants=(), stalls=(), busy=none, stalled=none, memory=none, stalled_by=none,
        utilization=none, contended=none, memory_used=none, memory_total=none, power=none, temperature=none,
        model_servers=ModelServers.empty(n), capacity=Capacity.empty(n), network=Network.empty(n),
        hardware=Hardware.empty(0, n),
    )  # fmt: skip
    assert everything(EvaluationPoint(empty, n - 1, baselines_at(empty, n - 1))) == ()


def told(found: tuple[Finding, ...]) -> list[tuple[Any, ...]]:
    """What of findings must not depend on anything but the platform."""
    return sorted(
        (each.cause, str(each.service), str(each.suspect), round(each.strength, 9), each.since) for each in found
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_order_of_things_changes_nothing(case: Case) -> None:
    made = world(case.bent)
    n = len(made.times) - 1
    there, back = baselines_at(made, n), None
    turned = permuted(made)
    back = baselines_at(turned, n)
    assert told(everything(EvaluationPoint(made, n, there))) == told(everything(EvaluationPoint(turned, n, back)))


def permuted(made: World) -> World:
    """The same World, its services, edges, GPUs, tenants, hosts and pools in another order."""
    services, edges, gpus = (np.arange(len(rows))[::-1] for rows in (made.services, made.edges, made.gpus))
    tenants = np.random.default_rng(1).permutation(len(made.tenants))
    assert made.network
    assert made.hardware
    assert made.capacity
    hosts, pools = np.roll(np.arange(len(made.network.hosts)), 1), np.arange(len(made.capacity.pools))[::-1]

    def red(rows: Red, order: np.ndarray) -> Red:
        return Red(*(getattr(rows, name)[order] for name in ("rate", "failed", "p50", "p95", "p99")))

    net, health, cluster = made.network, made.hardware, made.capacity
    return dataclasses.replace(
        made,
        services=tuple(made.services[i] for i in services),
        red=red(made.red, services),
        edges=tuple(made.edges[i] for i in edges),
        calls=red(made.calls, edges),
        server_p95=made.server_p95[edges],
        attempts=made.attempts[edges],
        gpus=tuple(made.gpus[i] for i in gpus),
        utilization=made.utilization[gpus],
        tenants=tuple(made.tenants[i] for i in tenants),
        busy=made.busy[tenants],
        stalls=made.stalls[::-1],
        stalled_by=made.stalled_by[::-1],
        network=Network(
            tuple(net.hosts[i] for i in hosts),
            *(getattr(net, name)[hosts] for name in ("used", "bytes", "retransmitted", "timeouts", "dropped")),
        ),
        hardware=Hardware(*(getattr(health, name)[gpus] for name in ("clock", "throttled", "errors", "lost"))),
        capacity=dataclasses.replace(
            cluster,
            pools=tuple(cluster.pools[i] for i in pools),
            quota=cluster.quota[pools],
            used=cluster.used[pools],
        ),
    )


@pytest.mark.parametrize("bent", [LOSES, STORM, SLOW_STORE], ids=["loses", "storm", "slow store"])
def test_a_silent_service_more_changes_nothing(bent: Bent) -> None:
    made = world(bent)
    n = len(made.times)
    quiet = np.full((1, n), np.nan)
    more = dataclasses.replace(
        made,
        services=(*made.services, Service("zz", "silent")),
        red=Red(*(np.vstack([getattr(made.red, name), quiet]) for name in ("rate", "failed", "p50", "p95", "p99"))),
    )
    one, two = (everything(EvaluationPoint(each, n - 1, baselines_at(each, n - 1))) for each in (made, more))
    assert told(one) == told(two)


@pytest.mark.parametrize("case", [each for each in CASES if each.cause != "retry storm"], ids=lambda case: case.name)
@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_a_platform_that_is_slower_by_nature_has_the_same_causes(case: Case, factor: float) -> None:
    """All durations scaled, as other hardware would."""
    made = world(case.bent)
    n = len(made.times)
    assert made.model_servers
    scaled = dataclasses.replace(
        made,
        red=dataclasses.replace(made.red, **{name: factor * getattr(made.red, name) for name in ("p50", "p95", "p99")}),
        calls=dataclasses.replace(
            made.calls, **{name: factor * getattr(made.calls, name) for name in ("p50", "p95", "p99")}
        ),
        server_p95=factor * made.server_p95,
        model_servers=dataclasses.replace(
            made.model_servers,
            **{
                name: factor * getattr(made.model_servers, name)
                for name in ("first_token", "per_token", "queued", "replica_seconds")
            },
        ),
    )
    one, two = (everything(EvaluationPoint(each, n - 1, baselines_at(each, n - 1))) for each in (made, scaled))
    relevant = [[row for row in told(found) if row[0] == case.cause and row[3] > 0.5] for found in (one, two)]
    assert relevant[0] == relevant[1]


def test_errors_of_gpus_that_are_nobodys_are_nobodys_trouble() -> None:
    made = world({("errors", GPUS[0]): since(290, 0, 1)})
    n = len(made.times)
    none = np.empty((0, n))
    idle = dataclasses.replace(made, tenants=(), busy=none, stalled=none, memory=none)
    assert [
        each for each in everything(EvaluationPoint(idle, n - 1, baselines_at(idle, n - 1))) if each.cause == "hardware"
    ] == []


def test_an_edge_that_vanishes_is_no_excess() -> None:
    now = point({("edge_server", ANSWER): since(285, 8, math.nan), ("edge_p95", ANSWER): since(285, 8.1, math.nan)})
    assert [each for each in everything(now) if each.strength > 0.5] == []
