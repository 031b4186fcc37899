"""Replicas: threads and queues, head-of-line blocking, draining, kills, and health probes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulator.calls.stand import ROUTE, InfiniteServers, Stand, call, flow, service

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.spec.services import (
    Cached,
    Call,
    CallPolicy,
    Cpu,
    HealthCheck,
    OperationSpec,
    Serve,
    ServiceSpec,
    Sometimes,
)


def test_requests_run_in_order_of_arrival() -> None:
    """First in, first out, as many at once as there are threads, with rejections beyond the backlog."""
    stand = Stand([service("s", Cpu(1.0, 0.0), threads=2, backlog=3)])
    stand.start("s")
    for _ in range(7):
        stand.mesh.enter(flow("s"), 0, 0)
    stand.run(10.0)
    spans = stand.take()
    codes = [(span.ended, span.attributes["http.response.status_code"]) for span in spans]
    assert codes == [(0.0, 503)] * 2 + [(1.0, 200)] * 2 + [(2.0, 200)] * 2 + [(3.0, 200)]
    assert stand["s"].outcomes["rejected"] == 2


def test_a_queued_request_without_its_caller_is_dropped() -> None:
    """It is dropped at the head of the queue, recorded as 499, and takes no time."""
    back = service("back", Cpu(1.0, 0.0), threads=1)
    stand = Stand([service("front", call("back", timeout=1.5)), back], delay=0.0)
    stand.start_all()
    for _ in range(4):
        stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    codes = [
        (round(span.ended, 6), span.attributes["http.response.status_code"])
        for span in stand.take()
        if span.kind == "server" and span.resource["service.name"] == "back"
    ]
    assert codes == [(1.0, 200), (2.0, 200), (2.0, 499), (2.0, 499)], "the second completes without its caller"
    assert (stand.mesh.answered, stand.mesh.failed) == (1, 3)


def gateway(threads: int) -> list[ServiceSpec]:
    policy = CallPolicy(5.0)
    routes = (
        OperationSpec("GET /fast", (Call("fast", ROUTE, policy),)),
        OperationSpec("GET /slow", (Call("slow", ROUTE, policy),)),
    )
    shared = ServiceSpec(ServiceName("test", "gateway"), routes, threads=threads)
    return [shared, service("fast", Cpu(0.005)), service("slow", Cpu(0.02))]


@pytest.mark.parametrize(("threads", "blocked"), [(8, True), (1000, False)])
def test_a_slow_callee_blocks_requests_that_do_not_call_it(threads: int, blocked: bool) -> None:
    """Head-of-line blocking: requests share the gateway's threads, so the fast route waits behind the slow one."""
    stand = Stand(gateway(threads))
    stand.start_all()
    for name in ("fast", "slow"):
        stand.poisson(FlowSpec(name, "gateway", f"GET /{name}", 10.0, timeout=60.0), 60.0)
    stand.run(20.0)
    stand.take()
    stand["slow"].slow_down(150.0)
    stand.run(60.0)
    seconds: dict[str, list[float]] = {}
    for span in stand.take():
        if span.kind == "server" and span.began > 30.0:
            seconds.setdefault(f"{span.resource['service.name']} {span.name}", []).append(span.ended - span.began)
    longest = {name: max(values) for name, values in seconds.items()}
    assert longest["fast POST /work"] < 0.05, "the fast callee itself is unaffected"
    assert (longest["gateway GET /fast"] > 2.0) == blocked


def test_a_draining_replica_completes_its_requests_and_gets_no_more() -> None:
    """No request is lost, including those on the network; its pid is free afterwards."""
    stand = Stand([service("front", call("back", timeout=9.0)), service("back", Cpu(1.0, 0.0), threads=1)], delay=0.01)
    stand.start("front")
    first, second = stand.start("back", 2)
    for _ in range(4):
        stand.mesh.enter(flow("front"), 0, 0)
    stand.run(0.005)
    gone = stand["back"].retire(first)
    assert (first.inbound, first.load, gone.fired) == (2, 0, False)
    assert stand["back"].ready == 1
    stand.run(0.5)
    assert first.load == 2
    stand.run(1.5)
    assert (first.load, gone.fired) == (1, False)
    stand.run(9.0)
    assert gone.fired
    assert stand["back"].replicas == [second]
    assert stand.mesh.answered == 4
    assert [len(host.pids) for host in stand.hosts.values()] == [1, 1]


def test_an_idle_replica_drains_at_once() -> None:
    """Draining takes as long as the remaining requests."""
    stand = Stand([service("s", Cpu(1.0))])
    (replica,) = stand.start("s")
    assert stand["s"].retire(replica).fired
    assert (stand["s"].ready, stand["s"].replicas) == (0, [])


def test_a_killed_replica_loses_its_requests_and_their_spans() -> None:
    """Callers see a reset and retry elsewhere. The dead process records no span, and its model jobs are cancelled."""
    front = service("front", call("back", timeout=9.0, attempts=2))
    stand = Stand([front, service("back", Serve(), threads=2)])
    stand.start("front")
    first, second = stand.start("back", 2, draw=lambda: 1.0)
    for _ in range(10):
        stand.mesh.enter(flow("front"), 0, 0)
    stand.run(0.5)
    assert (first.load, second.load) == (5, 5)
    assert stand["back"].retire(first, drain=False).fired
    assert isinstance(first.model, InfiniteServers)
    assert first.model.cancelled == 2
    stand.run(30.0)
    assert stand.mesh.answered == 10
    assert stand["back"].outcomes["killed"] == 5
    spans = stand.take()
    resets = [span for span in spans if span.attributes.get("error.type") == "connection_reset"]
    assert len(resets) == 5
    assert all(span.ended == pytest.approx(0.5003) for span in resets)
    assert all("http.response.status_code" not in span.attributes for span in resets)
    instances = [span.resource["service.instance.id"] for span in spans if span.name == ROUTE and span.kind == "server"]
    assert first.resource["service.instance.id"] not in instances


def test_callees_of_a_killed_caller_follow_its_policy() -> None:
    """The connections of a dead process close; with `cancels`, its callees stop."""
    for cancels in (False, True):
        stand = Stand([service("front", call("back", timeout=9.0, cancels=cancels)), service("back", Cpu(5.0, 0.0))])
        (front,) = stand.start("front")
        stand.start("back")
        stand.mesh.enter(flow("front"), 0, 0)
        stand.run(1.0)
        stand["front"].retire(front, drain=False)
        stand.run(2.0)
        assert stand.mesh.failed == 1
        assert stand["back"].in_flight == int(not cancels)
        assert [span.kind for span in stand.take()] == ["server"] * cancels, "no CLIENT span: its process is dead"


def test_a_request_that_arrives_at_a_dead_replica_is_reset() -> None:
    """It was on the network when the replica died."""
    stand = Stand([service("front", call("back", timeout=9.0)), service("back", Cpu(0.1))], delay=0.01)
    stand.start("front")
    (back,) = stand.start("back")
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(0.005)
    stand["back"].retire(back, drain=False)
    stand.run(5.0)
    (client,) = (span for span in stand.take() if span.kind == "client")
    assert client.attributes["error.type"] == "connection_reset"
    assert client.ended == pytest.approx(0.02)


HEALTH = HealthCheck(period=1.0, timeout=0.5, failures=2)


@pytest.mark.parametrize("health", [HEALTH, None])
def test_evictions_of_busy_replicas_spiral(health: HealthCheck | None) -> None:
    """With probes that wait in the same queue, an overload ends without a healthy replica."""
    stand = Stand([service("s", Cpu(0.1, 0.1), threads=4, backlog=200, health=health)])
    stand.start("s", 4)
    stand.poisson(flow("s", rate=120.0), 30.0)
    stand.run(30.0)
    assert stand["s"].ready == 4, "at three quarters of its capacity all is well"
    stand.poisson(flow("s", rate=240.0), 60.0)
    fewest = 4
    for second in range(31, 61):
        stand.run(float(second))
        fewest = min(fewest, stand["s"].ready)
    assert fewest == (4 if health is None else 0)
    stand.run(120.0)
    assert stand["s"].ready == 4, "once the queues are empty the probes pass again"


@pytest.mark.parametrize(("seconds", "ready"), [(1.0, 1), (2.0, 0)])
def test_one_failed_probe_does_not_evict(seconds: float, ready: int) -> None:
    """Two in a row do."""
    stand = Stand([service("s", Cpu(0.01), health=HEALTH)])
    stand.start("s")
    stand.run(10.0)
    stand["s"].slow_down(2000.0)
    seen: set[int] = set()
    for hundredth in range(1, 500):
        if hundredth == 100 * seconds:
            stand["s"].slow_down(1.0)
        stand.run(10.0 + hundredth / 100)
        seen.add(stand["s"].ready)
    assert min(seen) == ready


def test_a_replica_returns_with_the_first_successful_probe() -> None:
    """Probes leave no spans, and observers of the SLO do not see them."""
    stand = Stand([service("s", Cpu(0.01), health=HEALTH)])
    (replica,) = stand.start("s")
    stand.run(10.0)
    stand["s"].slow_down(1000.0)
    seen: list[int] = []
    for tenth in range(101, 200):
        stand.run(tenth / 10)
        if not seen or seen[-1] != stand["s"].ready:
            seen.append(stand["s"].ready)
        if tenth == 150:
            stand["s"].slow_down(1.0)
    assert seen == [1, 0, 1]
    assert stand.take() == []
    assert stand.ended == []
    stand["s"].retire(replica)
    stand.run(30.0)
    assert stand["s"].replicas == []


def test_a_flushed_cache_sends_its_misses_to_the_database() -> None:
    """Work amplification that recovers: all lookups miss at first, and after `refill` misses 63% hit again."""
    steps = (Cached("answers", 0.95, (call("table", timeout=1.0),), refill=500.0),)
    stand = Stand([service("s", *steps), service("table", Cpu(0.001), kind="database")], count=1, seed=3)
    stand.start_all()
    stand.poisson(flow("s", rate=100.0), 400.0)
    (edge,) = (edge for edge in stand.mesh.counts.edges if edge.connection == "database")
    per_second = []
    for second in range(1, 401):
        before = edge.requests
        if second == 101:
            stand.mesh.flush("answers")
        stand.run(float(second))
        per_second.append(edge.requests - before)
    assert 3.0 < sum(per_second[:100]) / 100 < 7.0
    assert sum(per_second[100:102]) / 2 > 75.0
    missed, seconds = 0, 0
    while missed < 500:
        missed += per_second[100 + seconds]
        seconds += 1
    halfway = sum(per_second[100 + seconds : 103 + seconds]) / 3
    assert halfway == pytest.approx(100 * (1 - 0.95 * 0.632), abs=12)
    assert sum(per_second[-50:]) / 50 < 9.0


def test_a_failed_fetch_does_not_fill_the_cache() -> None:
    """Only answers are cached."""
    stand = Stand(
        [service("s", Cached("answers", 1.0, (call("t", timeout=1.0),), refill=5.0)), service("t", Cpu(0.001))]
    )
    stand.start_all()
    stand["t"].fail_ratio = 1.0
    stand.mesh.flush("answers")
    for _ in range(50):
        stand.mesh.enter(flow("s"), 0, 0)
    stand.run(10.0)
    assert stand.mesh.caches["answers"].fill_ratio == 0.0


def test_probabilistic_steps_run_with_their_probability() -> None:
    """Over many requests."""
    stand = Stand([service("s", Sometimes(0.3, (call("t", timeout=1.0),))), service("t", Cpu(0.001))], count=1)
    stand.start_all()
    for _ in range(4000):
        stand.mesh.enter(flow("s"), 0, 0)
    stand.run(10.0)
    (edge,) = (edge for edge in stand.mesh.counts.edges if edge.client.name == "s")
    assert edge.requests / 4000 == pytest.approx(0.3, abs=0.03)


def test_a_slower_deploy_slows_the_gpu_process_too() -> None:
    """CPU work and GPU work slow down, on present replicas and on later ones."""

    class Process:
        pid, slowdown = 77, 1.0

    stand = Stand([service("s", Serve())])
    early, late = Process(), Process()
    stand["s"].add(stand.hosts["host-1"], InfiniteServers(stand.engine, lambda: 1.0), early)
    stand["s"].slow_down(2.5)
    replica = stand["s"].add(stand.hosts["host-1"], InfiniteServers(stand.engine, lambda: 1.0), late)
    assert (early.slowdown, late.slowdown) == (2.5, 2.5)
    assert replica.resource["process.pid"] == 77
    assert stand.hosts["host-1"].pids == {}, "the owner of the worker keeps its pid"


def test_a_rejection_by_the_model_server_is_answered_503() -> None:
    """As in vLLM with a full queue."""
    stand = Stand([service("s", Serve())])
    (replica,) = stand.start("s", draw=lambda: 5.0)
    stand.mesh.enter(flow("s"), 0, 0)
    stand.run(1.0)
    (request,) = replica._running
    assert request.job is not None
    request.job.done.fire(False)
    stand.run(2.0)
    (span,) = stand.take()
    assert span.attributes["http.response.status_code"] == 503


def test_a_replica_without_its_model_server_raises_an_error() -> None:
    """A wiring mistake is not a failed request."""
    stand = Stand([replace(service("s", Serve()), replicas=1)])
    stand.start("s")
    stand.mesh.enter(flow("s"), 0, 0)
    with pytest.raises(RuntimeError, match=r"test/s serves a model, so its replicas need a server"):
        stand.run(1.0)
