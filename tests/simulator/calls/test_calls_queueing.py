"""Waits, losses and numbers of requests match the closed forms of queueing theory."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, factorial, sqrt
from random import Random
from statistics import fmean, stdev

import pytest
from tests.conftest import soak
from tests.simulator.calls.stand import SharedServer, Stand, call, flow, service

from foreshock_simulator.spec.services import CallPolicy, Cpu, Serve

BATCHES = 30
T_99 = 2.756
"""Two-sided 99% quantile of Student's t with 29 degrees of freedom."""


def assert_mean(values: list[float], expected: float, precision: float) -> None:
    """The expected value lies within the 99% confidence interval of batch means, and the interval is narrow enough."""
    size = len(values) // BATCHES
    means = [fmean(values[i * size : (i + 1) * size]) for i in range(BATCHES)]
    bound = T_99 * stdev(means) / sqrt(BATCHES)
    assert bound < precision * expected, f"bounds of ±{bound:.4g} are too wide for {expected:.4g}"
    assert abs(fmean(means) - expected) < bound, f"{fmean(means):.5g} ± {bound:.2g} is not {expected:.5g}"


def sojourns(stand: Stand, requests: int) -> list[float]:
    """Seconds that requests spent in the service, without the first tenth."""
    ended = [each.seconds for each in stand.ended]
    assert len(ended) > requests * 0.9
    return ended[len(ended) // 10 :]


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request waits in M/M/c (Erlang 1917); `load` is λ/μ."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "utilization"), [*soak((1, 0.7), (8, 0.8)), (3, 0.7)])
def test_waits_for_threads_match_erlang_c(servers: int, utilization: float) -> None:
    """M/M/c: threads are the servers, and a model takes an exponential time: W = C(c, λ/μ) / (cμ − λ) + 1/μ."""
    rate, requests = utilization * servers, 50_000
    stand = Stand([service("s", Serve(), threads=servers, backlog=10**9)], delay=0.0, seed=11)
    rng = Random(5)
    stand.start("s", draw=lambda: rng.expovariate(1.0))
    stand.poisson(flow("s", rate=rate), requests / rate)
    stand.run(requests / rate)
    expected = erlang_c(servers, rate) / (servers - rate) + 1.0
    assert_mean(sojourns(stand, requests), expected, 0.1)


@pytest.mark.parametrize("spread", [*soak(0.3), 1.0])
def test_log_normal_work_waits_match_pollaczek_khinchine(spread: float) -> None:
    """M/G/1 on the CPU: W = λE[S²] / (2(1 − ρ)) + E[S]."""
    rate, requests, mean = 0.6, 50_000, exp(spread**2 / 2)
    stand = Stand([service("s", Cpu(1.0 / mean, spread), threads=1, backlog=10**9)], delay=0.0, seed=7)
    stand.start("s")
    stand.poisson(flow("s", rate=rate), requests / rate)
    stand.run(requests / rate)
    expected = rate * exp(spread**2) / (2 * (1 - rate)) + 1.0
    assert_mean(sojourns(stand, requests), expected, 0.1)


@pytest.mark.parametrize(("places", "load"), [*soak((1, 0.5), (6, 1.5)), (4, 0.9)])
def test_a_full_queue_rejects_the_share_of_m_m_1_k(places: int, load: float) -> None:
    """M/M/1/K: one thread and a backlog of K − 1 lose (1 − ρ)ρᴷ / (1 − ρᴷ⁺¹) of the requests."""
    requests = 40_000
    stand = Stand([service("s", Serve(), threads=1, backlog=places - 1)], delay=0.0, seed=3)
    rng = Random(9)
    stand.start("s", draw=lambda: rng.expovariate(1.0))
    stand.poisson(flow("s", rate=load), requests / load)
    stand.run(requests / load)
    lost = [float(not each.ok) for each in stand.ended]
    assert stand["s"].outcomes["rejected"] == sum(lost)
    assert_mean(lost, (1 - load) * load**places / (1 - load ** (places + 1)), 0.1)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng: 1.0, id="constant"),
        pytest.param(lambda rng: rng.expovariate(1.0), id="exponential"),
        pytest.param(lambda rng: rng.expovariate(4.0 if rng.random() < 0.8 else 0.25), id="hyperexponential"),
    ],
)
def test_processor_sharing_is_insensitive_to_the_distribution(draw: Callable[[Random], float]) -> None:
    """M/G/1-PS: W = E[S] / (1 − ρ), for any distribution (Kleinrock, Queueing Systems II, 4.4)."""
    rate, requests, rng = 0.5, 40_000, Random(2)
    stand = Stand([service("s", Serve(), threads=10**6)], delay=0.0, seed=5)
    stand.start("s")
    stand["s"].replicas[0].model = SharedServer(stand.engine, lambda: draw(rng))
    stand.poisson(flow("s", rate=rate), requests / rate)
    stand.run(requests / rate)
    assert_mean(sojourns(stand, requests), 1.0 / (1.0 - rate), 0.1)


def test_littles_law_holds_exactly() -> None:
    """∫ N dt is the sum of the sojourn times, for each service of a chain, up to rounding."""
    front = service("front", Cpu(0.01), call("back", timeout=0.2, attempts=3), threads=8, backlog=20)
    stand = Stand([front, service("back", Cpu(0.05), threads=2, backlog=5)], seed=2)
    stand.start_all(2)
    stand["back"].fail_ratio = 0.2
    stand.poisson(flow("front", rate=60.0, timeout=0.5, attempts=2), 120.0)
    stand.run(200.0)
    assert stand.mesh.open == 0
    for name in ("front", "back"):
        assert stand[name].in_flight == 0
        there = sum(each.seconds for each in stand.ended if each.service == name)
        assert there > 100.0
        assert stand[name].population.integral(stand.engine.now) == pytest.approx(there, rel=1e-11)


def test_cpu_time_is_the_work_of_all_threads() -> None:
    """The integral that an autoscaler reads is the mean work times the requests; slow code uses more."""
    stand = Stand([service("s", Cpu(0.02, 0.0))])
    stand.start("s", 2)
    for expected in (100 * 0.02, 100 * 0.02 + 100 * 0.06):
        for _ in range(100):
            stand.mesh.enter(flow("s"), 0, 0)
        stand.run(stand.engine.now + 10.0)
        assert stand["s"].cpu_seconds == pytest.approx(expected)
        stand["s"].slow_down(3.0)


@pytest.mark.parametrize("attempts", [1, 2, 4])
@pytest.mark.parametrize("failing", [0.1, 0.5, 0.9])
def test_attempts_per_call_follow_the_failure_probability(attempts: int, failing: float) -> None:
    """A(p) = (1 − pᵃ) / (1 − p) attempts per call, with up to a attempts that fail independently with p."""
    calls = 4000
    policy = CallPolicy(10.0, attempts=attempts)
    stand = Stand([service("front", call("back", policy)), service("back", Cpu(0.001))], count=1, seed=4)
    stand.start_all()
    stand["back"].fail_ratio = failing
    stand.poisson(flow("front", rate=50.0), calls / 50.0)
    stand.run(calls / 50.0 + 60.0)
    tried: dict[int, int] = {}
    for span in stand.take():
        if span.kind == "client":
            tried[span.parent] = tried.get(span.parent, 0) + 1
    expected = (1 - failing**attempts) / (1 - failing)
    if attempts == 1:
        assert set(tried.values()) == {1}
    else:
        assert_mean([float(count) for count in tried.values()], expected, 0.1)
    edge = next(edge for edge in stand.mesh.counts.edges if edge.server.name == "back")
    assert edge.requests / (edge.requests - edge.retries) == pytest.approx(sum(tried.values()) / len(tried))
