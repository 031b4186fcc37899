"""Ranking by the deviations of any signals, on generated service graphs with a known fault."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow
from foreshock_dashboard.analysis.root_cause.excess_flow import merged_aliases
from foreshock_dashboard.analysis.root_cause.excess_mass import excess_mass
from foreshock_dashboard.analysis.root_cause.rank_signals import Ranking, SignalRanker
from foreshock_dashboard.analysis.root_cause.signal_rows import signal_rows
from foreshock_dashboard.model.query import Matrix, MetricSeries
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

POINTS, FIRST, LENGTH = 80, 60, 3
TIMES = 300.0 * np.arange(POINTS, dtype=np.float64)
CALLS = {
    ("web", "cart"): 1.0,
    ("web", "search"): 0.5,
    ("cart", "store"): 2.0,
    ("search", "store"): 1.0,
    ("web", "ads"): 0.03,
}
OWN_SECONDS = {"web": 0.02, "cart": 0.03, "search": 0.05, "store": 0.01, "ads": 0.02}
Metrics = Mapping[str, Mapping[tuple[tuple[str, str], ...], Floats]]


def noise(seed: int, spread: float = 0.04) -> Floats:
    """Factors around 1."""
    return np.exp(spread * np.random.default_rng(seed).standard_normal(POINTS))


def during(seconds: float) -> Floats:
    """A value during the fault, else 0."""
    return np.where((np.arange(POINTS) >= FIRST) & (np.arange(POINTS) < FIRST + LENGTH), seconds, 0.0)


def latencies(extra: Mapping[str, Floats], seed: int = 0) -> dict[str, Floats]:
    """Mean latency of each service: its own time, and that of its calls."""
    totals: dict[str, Floats] = {}
    for i, name in enumerate(("store", "ads", "cart", "search", "web")):
        own = OWN_SECONDS[name] * noise(seed + i) + extra.get(name, 0.0)
        called = [ratio * totals[server] for (client, server), ratio in CALLS.items() if client == name]
        totals[name] = own + np.sum(called, axis=0) if called else own
    return totals


def graph(extra: Mapping[str, Floats], step: float, seed: int = 0) -> Metrics:
    """Gauges of latency, counters of requests and of calls."""
    rates = {"web": 20.0, "cart": 20.0, "search": 10.0, "store": 50.0, "ads": 0.6}
    return {
        "latency_avg": {labels_of({"service": name}): row for name, row in latencies(extra, seed).items()},
        "requests_total": {
            labels_of({"service": name}): np.cumsum(np.round(rate * step * noise(90 + i)))
            for i, (name, rate) in enumerate(rates.items())
        },
        "traces_service_graph_request_total": {
            labels_of({"client": client, "server": server}): np.cumsum(
                np.round(rates[client] * ratio * step * noise(70))
            )
            for (client, server), ratio in CALLS.items()
        },
    }


def ranked(metrics: Metrics, step: float, affected: str | None = "web") -> Ranking:
    """Candidates around the first point of the fault."""
    times = step * np.arange(POINTS, dtype=np.float64)
    window = AnalysisWindow(times, FIRST - 4, FIRST - 2, float(times[FIRST]))
    series = [MetricSeries(name, Matrix.of(times, dict(rows))) for name, rows in metrics.items()]
    rows = signal_rows(series, window.baseline_end, step)
    service = None if affected is None else Service("", affected)
    return SignalRanker(rows, window).ranking(service)


@pytest.mark.parametrize("step", [10.0, 60.0, 300.0])
@pytest.mark.parametrize("suspect", ["store", "cart", "search", "web"])
@pytest.mark.parametrize("affected", ["web", None])
def test_the_service_with_its_own_excess_ranks_first(step: float, suspect: str, affected: str | None) -> None:
    """Not those that inherit it, at any resolution, whether or not the affected service is given."""
    ranking = ranked(
        graph({suspect: during(0.4) if step > 10 else np.where(np.arange(POINTS) >= FIRST, 0.4, 0.0)}, step),
        step,
        affected,
    )
    assert ranking.passed
    assert ranking.candidates[0].service.name == suspect
    assert sum(item.score for item in ranking.candidates) == pytest.approx(1.0)


def test_a_callee_in_few_requests_is_no_root_cause() -> None:
    """It is slower by more, but three in a hundred requests call it."""
    ranking = ranked(graph({"ads": during(0.6), "web": during(0.3)}, 300.0), 300.0)
    assert ranking.candidates[0].service.name == "web"


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_platform_passes_no_gate(seed: int) -> None:
    """It still lists what is closest to anomalous."""
    ranking = ranked(graph({}, 300.0, 1000 * seed), 300.0)
    assert not ranking.passed
    assert ranking.candidates


def test_a_strongly_anomalous_service_outside_the_map_is_a_candidate() -> None:
    """The map of calls is incomplete: a shared host saturates."""
    cpu = {labels_of({"service": name}): 0.01 * noise(40 + i) for i, name in enumerate(OWN_SECONDS)}
    cpu[labels_of({"service": "batch"})] = 0.007 * noise(50) + during(0.99)
    metrics = {**graph({"web": during(0.1)}, 300.0), "cpu_usage": cpu}
    assert ranked(metrics, 300.0).candidates[0].service.name == "batch"


def test_a_host_is_a_weaker_candidate_than_the_service_on_it() -> None:
    """What runs there uses it."""
    rows = {name: noise(50) + during(0.99) for name in ("batch", "host")}
    metrics = {
        **graph({"web": during(0.1)}, 300.0),
        "cpu_usage": {labels_of({"service": "batch"}): 0.007 * rows["batch"]},
        "node_cpu_usage": {labels_of({"instance": "node-1"}): 0.007 * rows["host"]},
    }
    shares = {item.service.name: item.score for item in ranked(metrics, 300.0).candidates}
    assert shares["batch"] > 2 * shares.get("node-1", 0.0)


@pytest.mark.parametrize(("suspect", "kept"), [("store", 0.0), ("store", 0.05)])
def test_a_callee_that_requests_no_longer_reach_is_named(suspect: str, kept: float) -> None:
    """Its callers fail, and it reports nothing but fewer requests."""
    metrics = dict(graph({}, 300.0))
    counts = {labels: np.diff(row, prepend=0.0) for labels, row in metrics["requests_total"].items()}
    gone = during(1.0) > 0
    counts[labels_of({"service": suspect})][gone] *= kept
    metrics["requests_total"] = {labels: np.cumsum(row) for labels, row in counts.items()}
    metrics["availability"] = {labels_of({"service": name}): 100.0 - during(40.0) for name in ("web", "cart", "search")}
    ranking = ranked(metrics, 300.0)
    assert ranking.passed
    assert ranking.candidates[0].service.name == suspect
    assert any(reason.name == "requests_total" for reason in ranking.candidates[0].reasons)


def test_fewer_requests_of_users_are_no_fault_of_a_callee() -> None:
    """All services get fewer at once: none is lost on the way."""
    metrics = dict(graph({}, 300.0))
    for name in ("requests_total", "traces_service_graph_request_total"):
        metrics[name] = {
            labels: np.cumsum(np.diff(row, prepend=0.0) * (1 - during(0.9))) for labels, row in metrics[name].items()
        }
    assert [item.service.name for item in ranked(metrics, 300.0).candidates] == ["web"]


def test_without_a_map_the_most_anomalous_service_ranks_first() -> None:
    """By its resources more than by what propagates."""
    rows = latencies({"store": during(0.4)})
    cpu = {labels_of({"service": name}): 0.2 * noise(30 + i) for i, name in enumerate(rows)}
    cpu[labels_of({"service": "store"})] = 0.2 * noise(35) + during(0.7)
    latency = {labels_of({"service": name}): row for name, row in rows.items()}
    assert ranked({"latency_avg": latency, "cpu": cpu}, 300.0).candidates[0].service.name == "store"


def test_a_failing_service_is_not_explained_by_a_slow_callee_that_does_not_fail() -> None:
    """Errors come from where they begin."""
    metrics = dict(graph({"search": during(0.02)}, 300.0))
    metrics["availability"] = {
        labels_of({"service": name}): 100.0 - (during(30.0) if name in ("web", "cart") else 0.0 * during(1.0))
        for name in OWN_SECONDS
    }
    assert ranked(metrics, 300.0).candidates[0].service.name == "cart"


def test_no_conclusion_from_a_handful_of_requests() -> None:
    """Two requests in five minutes say nothing about a latency."""
    step, rate = 300.0, np.cumsum(np.full(POINTS, 2.0))
    metrics: Metrics = {
        "latency_avg": {labels_of({"service": "web"}): 0.2 * noise(1) + during(0.6)},
        "requests_total": {labels_of({"service": "web"}): rate},
    }
    assert not ranked(metrics, step).passed


def call_seconds(side: str, seconds: Floats, calls: Floats) -> Metrics:
    """Counters of a service graph's call from web to store, as one side measures it."""
    labels = labels_of({"client": "web", "server": "store"})
    name = f"traces_service_graph_request_{side}_seconds"
    return {f"{name}_sum": {labels: np.cumsum(seconds * calls)}, f"{name}_count": {labels: np.cumsum(calls)}}


@pytest.mark.parametrize("fault", ["network", "database"])
def test_what_only_clients_measure_is_an_own_excess_of_the_callee(fault: str) -> None:
    """The way to a service is slow, or a database that measures nothing itself; latency in sum hardly moves."""
    calls, varied = np.full(POINTS, 60.0), 0.1 * noise(4, 0.8)
    seconds = {"client": varied + 0.001 + during(0.1), "server": varied} if fault == "network" else {
        "client": 0.01 * noise(4) + during(0.1)
    }  # fmt: skip
    sides = [call_seconds(side, values, calls) for side, values in seconds.items()]
    histograms = [
        MetricSeries(name, Matrix.of(TIMES, dict(side[f"{name}_sum"])), Matrix.of(TIMES, dict(side[f"{name}_count"])))
        for side in sides
        for name in {key.rpartition("_")[0] for key in side}
    ]
    rows = signal_rows(histograms, FIRST - 4, 300.0)

    excess = excess_mass(rows, FIRST - 4, range(FIRST, FIRST + LENGTH), 300.0)

    assert excess.z[Service("", "store")] >= 5.0
    assert excess.by_service[Service("", "store")] > excess.by_service[Service("", "web")]


@pytest.mark.parametrize(("every", "passed"), [(0, True), (9, False)])
def test_a_resource_that_bursts_as_much_every_few_windows_is_no_incident(every: int, passed: bool) -> None:
    """Whichever service bursts: among many one always does."""
    names = [f"pod{i}" for i in range(20)]
    cpu = {labels_of({"service": name}): 0.1 * noise(i) for i, name in enumerate(names)}
    for i, values in enumerate(cpu.values()):
        if every:
            values[(every * i) % (FIRST - 5) : (every * i) % (FIRST - 5) + 2] += 0.5
    cpu[labels_of({"service": "pod3"})] += during(0.5)
    assert ranked({"cpu": cpu}, 300.0, None).passed == passed


def test_a_fault_long_after_the_asked_time_does_not_outrank_the_one_at_it() -> None:
    """Even if it is much larger."""
    later = np.where(np.arange(POINTS) >= FIRST + 12, 3.0, 0.0)
    metrics = graph({"cart": during(0.2), "search": later}, 60.0)
    assert ranked(metrics, 60.0).candidates[0].service.name == "cart"


def test_a_load_balancer_of_a_service_is_that_service() -> None:
    """Their suspicion is one."""
    web, balancer, other = Service("", "web"), Service("", "web-lb"), Service("", "cart")
    assert merged_aliases({web: 0.3, balancer: 0.3, other: 0.4}) == {web: 0.6, other: 0.4}


def test_without_a_map_of_calls_any_service_may_be_the_cause() -> None:
    """The asked service shows nothing, but nothing is known about what it calls either."""
    gauges = {labels_of({"service": name}): 50.0 * noise(i) for i, name in enumerate(OWN_SECONDS)}
    gauges[labels_of({"service": "store"})] += during(80.0)
    ranking = ranked({"memory_bytes": gauges, "latency_avg": graph({}, 300.0)["latency_avg"]}, 300.0)
    assert ranking.passed
    assert ranking.candidates[0].service.name == "store"


@pytest.mark.parametrize(("limit", "expected"), [(66.0, True), (500.0, False)])
def test_a_resource_at_its_limit_counts_more_than_a_change_of_usage(limit: float, expected: bool) -> None:
    """A quarter more memory kills a container only near its limit."""

    def pod(name: str, **labels: str) -> tuple[tuple[str, str], ...]:
        return labels_of({"pod": f"{name}-0", "container": name, **labels})

    memory = {pod(name): 50.0 * noise(i, 0.01) for i, name in enumerate(OWN_SECONDS)}
    memory[pod("store")] = memory[pod("store")] + during(14.0)
    metrics = {
        "latency_avg": graph({}, 300.0)["latency_avg"],
        "container_memory_working_set_bytes": memory,
        "kube_pod_container_resource_limits": {pod("store", resource="memory"): np.full(POINTS, limit)},
    }
    assert ranked(metrics, 300.0).passed is expected


def test_a_callee_that_is_not_ready_explains_callers_that_wait() -> None:
    """It answers nothing, so its latency is unknown, and its caller seems to be slow by itself."""
    metrics = graph({"cart": during(2.0)}, 300.0)
    latency = {labels: row for labels, row in metrics["latency_avg"].items() if ("service", "store") not in labels}
    lost = {"store": during(2.0)}
    ready = {labels_of({"deployment": name}): np.full(POINTS, 2.0) - lost.get(name, 0.0) for name in OWN_SECONDS}
    ranking = ranked({**metrics, "latency_avg": latency, "kube_deployment_status_replicas_ready": ready}, 300.0)
    assert ranking.passed
    assert ranking.candidates[0].service.name == "store"


def test_among_many_services_without_a_map_one_odd_is_no_cause() -> None:
    """The largest of many deviations is large by chance. The asked service is healthy."""
    names = [f"worker-{i}" for i in range(60)]
    memory = {labels_of({"service": name}): 50.0 * noise(i) for i, name in enumerate(names)}
    odd = labels_of({"service": "worker-7"})
    memory[odd] = memory[odd] + during(36.0)
    web = {"latency_avg": {labels_of({"service": "web"}): 0.1 * noise(99)}}
    few = {labels: row for labels, row in memory.items() if labels == odd}
    assert ranked({**web, "memory_bytes": few}, 300.0).passed
    assert not ranked({**web, "memory_bytes": memory}, 300.0).passed


@pytest.mark.parametrize("step", [10.0, 60.0, 300.0])
def test_without_calls_the_service_that_grew_most_is_named(step: float) -> None:
    """Its caller inherits a part, which is more significant where its latency varies less."""
    fault = during(1.0) if step > 10 else np.where(np.arange(POINTS) >= FIRST, 1.0, 0.0)
    own, inherited = 0.01 * noise(1, 0.12) + 0.2 * fault, 0.04 * noise(2, 0.03) + 0.2 * fault
    gauges = {labels_of({"service": name}): row for name, row in (("store", own), ("cart", inherited))}
    gauges |= {labels_of({"service": name}): 0.03 * noise(i, 0.1) for i, name in enumerate(("web", "ads", "search"), 3)}
    ranking = ranked({"latency_p50": gauges}, step, "store")
    assert ranking.passed
    assert [item.service.name for item in ranking.candidates[:2]] == ["store", "cart"]
