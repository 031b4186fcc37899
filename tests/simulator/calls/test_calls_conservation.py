"""For any topology, policies and faults, each request ends exactly once, and no thread is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.simulator.calls.stand import ROUTE, Stand, call, flow, service

from foreshock_simulator.spec.services import (
    Cached,
    CallPolicy,
    Cpu,
    HealthCheck,
    Serve,
    ServiceSpec,
    Sometimes,
    Step,
    Together,
)
from foreshock_simulator.tracing.spans import SimSpan

NAMES = "abcde"
"""Services call only those after them."""

policies = st.builds(
    CallPolicy,
    timeout=st.sampled_from([0.02, 0.2, 2.0]),
    attempts=st.integers(1, 3),
    retry_budget=st.sampled_from([None, 0.1]),
    cancels=st.booleans(),
    breaker=st.sampled_from([None, 5]),
    breaker_open=st.just(1.0),
    fallback=st.sampled_from([None, ("e", ROUTE)]),
    required=st.booleans(),
)


@st.composite
def plans(draw: st.DrawFn, callees: str, depth: int = 2) -> tuple[Step, ...]:
    """Steps of a service that may call these services."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["cpu", "call", "call", "together", "sometimes", "cached"]))
        if kind == "cpu" or not callees:
            steps.append(Cpu(draw(st.sampled_from([0.001, 0.05])), 0.5))
        elif kind == "call" or depth == 0:
            steps.append(call(draw(st.sampled_from(callees)), draw(policies)))
        else:
            within = draw(plans(callees, depth - 1))
            made: dict[str, Step] = {
                "together": Together(within),
                "sometimes": Sometimes(0.5, within),
                "cached": Cached("answers", 0.8, within, refill=20.0),
            }
            steps.append(made[kind])
    return tuple(steps)


@st.composite
def topologies(draw: st.DrawFn) -> list[ServiceSpec]:
    """Five services; the last is a database, the one before it may serve a model."""
    made = []
    for index, name in enumerate(NAMES[:-1]):
        steps = draw(plans(NAMES[index + 1 :]))
        if name == "d" and draw(st.booleans()):
            steps = (*steps, Serve())
        spec = service(
            name,
            *steps,
            threads=draw(st.sampled_from([1, 2, 16])),
            backlog=draw(st.sampled_from([0, 3, 50])),
            health=draw(st.sampled_from([None, HealthCheck(period=1.0, timeout=0.1, failures=2)])),
            balancing=draw(st.sampled_from(["least-load", "round-robin", "random", "two-choices"])),
        )
        made.append(spec)
    made.append(service("e", Cpu(0.005), threads=4, backlog=20, kind="database"))
    return made


class Platform(RuleBasedStateMachine):
    """State machine: users arrive, time passes, faults occur."""

    @initialize(specs=topologies(), seed=st.integers(0, 99))
    def build(self, specs: list[ServiceSpec], seed: int) -> None:
        self.stand = Stand(specs, seed=seed, count=1)
        self.users = flow("a", timeout=1.0, attempts=2)
        self.spans: list[SimSpan] = []
        for name in NAMES:
            self.add(name)
            self.add(name)

    @rule(count=st.integers(1, 40), seconds=st.sampled_from([0.0, 0.01, 0.5, 3.0]))
    def users_come(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.stand.mesh.enter(self.users, 50, 5)
            self.stand.run(self.stand.engine.now + seconds / count)

    @rule(seconds=st.sampled_from([0.001, 0.1, 2.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        self.stand.run(self.stand.engine.now + seconds)

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: str) -> None:
        draw = (lambda: self.stand.rng.expovariate(20.0)) if self.stand[name].spec.model else None
        self.stand.start(name, draw=draw)

    @rule(name=st.sampled_from(NAMES), drain=st.booleans())
    def retire(self, name: str, drain: bool) -> None:
        staying = [replica for replica in self.stand[name].replicas if not replica.draining]
        if staying:
            self.stand[name].retire(staying[0], drain)

    @rule(name=st.sampled_from(NAMES), slow=st.sampled_from([1.0, 30.0]), failing=st.sampled_from([0.0, 0.7]))
    def deploy(self, name: str, slow: float, failing: float) -> None:
        self.stand[name].fail_ratio = failing
        self.stand[name].slow_down(slow)

    @rule(name=st.sampled_from(NAMES), timeout=st.sampled_from([0.01, 1.0]), attempts=st.integers(1, 4))
    def change_policies(self, name: str, timeout: float, attempts: int) -> None:
        for callee in {line.target.name.name for line in self.stand[name].call_sites}:
            self.stand[name].override(callee, timeout, attempts)

    @rule()
    def flush(self) -> None:
        if self.stand.mesh.caches:
            self.stand.mesh.flush("answers")

    @invariant()
    def counts_add_up(self) -> None:
        mesh = self.stand.mesh
        assert 0 <= mesh.open <= mesh.entered
        self.spans += self.stand.take()
        for name in NAMES:
            spec, there = self.stand[name].spec, self.stand[name]
            assert there.in_flight == sum(replica.load for replica in there.replicas)
            for replica in there.replicas:
                working, waiting = len(replica._running), len(replica.queue)
                assert replica.load == working + waiting
                assert replica.inbound >= 0
                assert working <= spec.threads
                assert waiting <= spec.backlog
                assert not waiting or working == spec.threads, "a thread is idle while requests wait"

    @invariant()
    def littles_law_holds(self) -> None:
        now = self.stand.engine.now
        for name in NAMES:
            there = self.stand[name]
            left = sum(each.seconds for each in self.stand.ended if each.service == name)
            inside = [r for replica in there.replicas for r in (*replica._running, *replica.queue) if r.operation.route]
            if there.spec.health is None:
                resident = left + sum(now - request.arrived for request in inside)
                assert there.population.integral(now) == pytest.approx(resident, rel=1e-9, abs=1e-9)

    def teardown(self) -> None:
        """Without probes and with enough time, no request is left, and all are accounted for."""
        if not hasattr(self, "stand"):
            return
        stand, mesh = self.stand, self.stand.mesh
        stand.run(stand.engine.now + 3000.0)
        self.spans += stand.take()
        assert mesh.open == 0
        numbers = Counter(span.number for span in self.spans)
        assert set(numbers.values()) <= {1}
        clients = {span.number: span for span in self.spans if span.kind == "client"}
        answers = Counter(span.parent for span in self.spans if span.kind == "server" and span.parent)
        assert set(answers.values()) <= {1}, "a call was answered twice"
        for name in NAMES:
            there = stand[name]
            gone = [replica for replica in there.replicas if replica.draining]
            assert gone == [], "a drained replica never ended"
            assert all(len(r.queue) == 0 for r in there.replicas)
            recorded = sum(1 for s in self.spans if s.kind == "server" and s.resource["service.name"] == name)
            ended = sum(count for how, count in there.outcomes.items() if how != "killed")
            if there.spec.health is None:
                assert (there.in_flight, there.busy_threads.value) == (0, 0)
                assert recorded == (0 if name == "e" else ended)
        for edge in mesh.counts.edges:
            if edge.connection != "virtual_node":
                mine = [
                    span
                    for span in clients.values()
                    if span.resource["service.name"] == edge.client.name
                    and span.attributes["server.address"] == edge.server.name
                ]
                assert edge.requests == len(mine) == len(edge.client_seconds)
                assert edge.failed == sum(span.status == "error" for span in mine)


TestConservation = Platform.TestCase
TestConservation.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=25)


def test_a_request_without_ready_replica_fails() -> None:
    """Users and callers are refused, and both requests end."""
    stand = Stand([service("front", call("back", timeout=1.0, attempts=2)), service("back", Cpu(0.01))])
    stand.mesh.enter(replace(flow("front"), attempts=2), 0, 0)
    stand.run(10.0)
    assert (stand.mesh.failed, stand.mesh.attempts, stand.mesh.open) == (1, 2, 0)
    stand.start("front")
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(20.0)
    assert (stand.mesh.failed, stand.mesh.open) == (2, 0)
    refused = [span for span in stand.take() if span.kind == "client"]
    assert [span.attributes["error.type"] for span in refused] == ["connection_refused"] * 2
