"""Callers amplify or contain an overload: retries, budgets, cancellation, circuit breakers, fallbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulator.calls.stand import ROUTE, Stand, call, flow, service

from foreshock_simulator.core.engine import Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import Call, CallPolicy, Cpu, OperationSpec, Serve, ServiceSpec, Together
from foreshock_simulator.tracing.spans import SimSpan

BACK = Cpu(0.1, 0.2)


def chain(policy: CallPolicy, threads: int = 4) -> Stand:
    """front → back; back answers 40 requests per second."""
    stand = Stand([service("front", call("back", policy)), service("back", BACK, threads=threads)], count=1)
    stand.start_all()
    return stand


def clients(spans: list[SimSpan], service: str) -> list[SimSpan]:
    return [span for span in spans if span.kind == "client" and span.attributes["server.address"] == service]


def success_and_attempts_after_dip(policy: CallPolicy) -> tuple[float, float]:
    """A minute after a dip of capacity, with 32 requests per second: success ratio, and attempts per call."""
    stand = chain(policy)
    stand.poisson(flow("front", rate=32.0), 200.0)
    stand.run(20.0)
    stand["back"].slow_down(4.0)
    stand.run(50.0)
    stand["back"].slow_down(1.0)
    stand.run(110.0)
    edge = next(edge for edge in stand.mesh.counts.edges if edge.server.name == "back")
    before = edge.requests, edge.retries, stand.mesh.answered, stand.mesh.failed
    stand.run(170.0)
    requests, retries = edge.requests - before[0], edge.retries - before[1]
    answered, failed = stand.mesh.answered - before[2], stand.mesh.failed - before[3]
    return answered / (answered + failed), requests / (requests - retries)


def test_retries_sustain_an_overload_after_its_cause_has_ended() -> None:
    """A metastable failure: a minute after capacity is back, most requests still time out."""
    answered, attempts = success_and_attempts_after_dip(CallPolicy(1.0, attempts=4))
    assert answered < 0.5
    assert attempts > 2.5


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(CallPolicy(1.0), id="no retries"),
        pytest.param(CallPolicy(1.0, attempts=4, retry_budget=0.1), id="budget"),
        pytest.param(CallPolicy(1.0, attempts=4, breaker=10, breaker_open=5.0), id="breaker"),
    ],
)
def test_without_retry_amplification_the_platform_recovers(policy: CallPolicy) -> None:
    """A minute after the same dip, the platform works as before."""
    answered, attempts = success_and_attempts_after_dip(policy)
    assert answered > 0.98
    assert attempts < 1.05


def test_a_retry_budget_bounds_retries_to_a_failing_callee() -> None:
    """Ten percent of the first attempts, where there would be three retries each."""
    stand = chain(CallPolicy(1.0, attempts=4, retry_budget=0.1))
    stand["back"].fail_ratio = 1.0
    stand.poisson(flow("front", rate=20.0), 60.0)
    stand.run(100.0)
    (edge,) = (edge for edge in stand.mesh.counts.edges if edge.server.name == "back")
    firsts = edge.requests - edge.retries
    assert 0.05 * firsts < edge.retries <= 0.1 * firsts


def test_backoff_has_full_jitter() -> None:
    """The pause before the n-th retry is uniform up to backoff · 2ⁿ⁻¹."""
    stand = Stand(
        [service("front", call("back", timeout=1.0, attempts=4, backoff=0.2)), service("back", Cpu(1e-6, 0.0))]
    )
    stand.start_all()
    stand["back"].fail_ratio = 1.0
    for _ in range(400):
        stand.mesh.enter(flow("front"), 0, 0)
    stand.run(60.0)
    traces: dict[int, list[SimSpan]] = {}
    for span in clients(stand.take(), "back"):
        traces.setdefault(span.trace, []).append(span)
    for retry in (1, 2, 3):
        longest = 0.2 * 2 ** (retry - 1)
        pauses = [spans[retry].began - spans[retry - 1].ended for spans in traces.values()]
        assert len(pauses) == 400
        assert 0.0 <= min(pauses) < 0.02 * longest
        assert 0.98 * longest < max(pauses) <= longest
        assert sum(pauses) / 400 == pytest.approx(longest / 2, rel=0.1)


@pytest.mark.parametrize(("cancels", "busy"), [(True, 0), (False, 1)])
def test_cancellation_frees_the_thread_at_once(cancels: bool, busy: int) -> None:
    """Without it, the callee continues for a caller that is gone.

    With it, the calls of the callee are cancelled too.
    """
    middle = service("middle", call("back", timeout=50.0, cancels=cancels), threads=1)
    front = service("front", call("middle", timeout=0.5, cancels=cancels))
    stand = Stand([front, middle, service("back", Cpu(20.0, 0.0), threads=1)])
    stand.start_all()
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(1.0)
    assert stand.mesh.failed == 1
    assert [stand[name].in_flight for name in ("front", "middle", "back")] == [0, busy, busy]
    assert stand["back"].busy_threads.value == busy
    stand.run(30.0)
    spans = {span.resource["service.name"]: span for span in stand.take() if span.kind == "server"}
    codes = {name: span.attributes["http.response.status_code"] for name, span in spans.items()}
    gone = 499 if cancels else 200
    assert codes == {"front": 504, "middle": gone, "back": gone}
    assert spans["back"].ended == pytest.approx(0.5 if cancels else 20.0, abs=0.01)


def test_queued_calls_of_a_cancelled_service_are_dropped() -> None:
    """A callee without cancellation drops them at the head of its queue."""
    front = service("front", call("middle", timeout=0.5, cancels=True))
    back = service("back", Cpu(2.0, 0.0), threads=1)
    stand = Stand([front, service("middle", call("back", timeout=50.0)), back], delay=0.0)
    stand.start_all()
    stand.mesh.enter(flow("back"), 0, 0)
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    assert stand["back"].outcomes["dropped"] == 1
    assert stand["back"].cpu_seconds == pytest.approx(2.0)


def test_a_cancellation_starts_the_next_queued_request() -> None:
    """A freed thread does not stay idle while requests wait."""
    impatient = service("impatient", call("back", timeout=0.5, cancels=True))
    patient = service("patient", call("back", timeout=50.0))
    stand = Stand([impatient, patient, service("back", Cpu(2.0, 0.0), threads=1)], delay=0.0)
    stand.start_all()
    stand.mesh.enter(flow("impatient"), 0, 0)
    stand.run(0.1)
    stand.mesh.enter(flow("patient"), 0, 0)
    stand.run(10.0)
    assert (stand.mesh.answered, stand.mesh.failed) == (1, 1)
    codes = {span.ended: span.code for span in stand.take() if span.resource["service.name"] == "back"}
    assert codes == {0.5: 499, 2.5: 200}


def test_cancellation_reaches_the_model_server_and_every_branch() -> None:
    """A cancelled fan-out leaves nothing running."""
    front = service("front", call("middle", timeout=0.5, cancels=True))
    wide = Together((call("model", timeout=9.0, cancels=True), call("model", timeout=9.0, cancels=True), Cpu(5.0)))
    stand = Stand([front, service("middle", wide), service("model", Serve())])
    stand.start("front")
    stand.start("middle")
    (replica,) = stand.start("model", draw=lambda: 7.0)
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(1.0)
    assert replica.model is not None
    assert replica.model.cancelled == 2  # type: ignore[attr-defined]  # the stand-in counts them
    assert [stand[name].in_flight for name in ("front", "middle", "model")] == [0, 0, 0]
    assert stand["middle"].busy_threads.value == 0


def test_an_open_breaker_blocks_calls_until_a_trial_succeeds() -> None:
    """While it is open, the callee gets no calls and callers fail at once; later one trial is sent."""
    stand = chain(CallPolicy(1.0, breaker=5, breaker_open=10.0), threads=64)
    stand["back"].fail_ratio = 1.0
    stand.poisson(flow("front", rate=20.0), 100.0)
    stand.run(40.0)
    spans = clients(stand.take(), "back")
    (replica,) = stand["front"].replicas
    (line,) = stand["front"].call_sites
    breaker = replica.breaker(line.target, line.policy)
    assert breaker is not None
    assert breaker.state(stand.engine.now) != "closed"
    assert 5 + 3 <= len(spans) <= 5 + 3 + 4, "five failures, some under way by then, and a trial every ten seconds"
    assert stand["front"].outcomes["failed"] > 500
    stand["back"].fail_ratio = 0.0
    stand.run(55.0)
    assert breaker.state(stand.engine.now) == "closed"
    before = stand.mesh.failed
    stand.run(100.0)
    assert stand.mesh.failed == before


def test_a_breaker_that_opens_ends_the_attempts_of_a_call() -> None:
    """A retry is an attempt like any other."""
    stand = chain(CallPolicy(1.0, attempts=4, breaker=2))
    stand["back"].fail_ratio = 1.0
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(30.0)
    assert len(clients(stand.take(), "back")) == 2


def test_a_fallback_hides_a_failure_from_users_but_not_from_spans() -> None:
    """Users get an answer. The failed CLIENT spans and the fallback's span exist, and are counted."""
    policy = CallPolicy(1.0, attempts=2, fallback=("spare", ROUTE))
    stand = Stand([service("front", call("main", policy)), service("main", BACK), service("spare", BACK)], count=1)
    stand.start_all()
    stand["main"].fail_ratio = 1.0
    for _ in range(20):
        stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    assert stand.mesh.answered == 20
    spans = stand.take()
    assert [span.status for span in clients(spans, "main")] == ["error"] * 40
    assert [span.status for span in clients(spans, "spare")] == ["unset"] * 20
    for failed in clients(spans, "main"):
        (instead,) = (span for span in clients(spans, "spare") if span.parent == failed.parent)
        assert instead.began >= failed.ended
        assert instead.name == failed.name
    (edge,) = (edge for edge in stand.mesh.counts.edges if edge.server.name == "main")
    assert edge.fallbacks == {ServiceName("test", "spare"): 40}


def test_a_fallback_has_one_attempt_and_its_failure_fails_the_caller() -> None:
    """It has no retries, and no fallback."""
    policy = CallPolicy(1.0, attempts=3, fallback=("spare", ROUTE))
    stand = Stand([service("front", call("main", policy)), service("main", BACK), service("spare", BACK)])
    stand.start_all()
    stand["main"].fail_ratio = stand["spare"].fail_ratio = 1.0
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    spans = stand.take()
    assert (len(clients(spans, "main")), len(clients(spans, "spare")), stand.mesh.failed) == (3, 1, 1)


@pytest.mark.parametrize(("required", "answered"), [(True, 0), (False, 1)])
def test_a_caller_continues_without_an_optional_call(required: bool, answered: int) -> None:
    """The same failure with a required and an optional call."""
    stand = chain(CallPolicy(1.0, required=required))
    stand["back"].fail_ratio = 1.0
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    assert stand.mesh.answered == answered


@pytest.mark.parametrize(
    ("trouble", "status"), [("slow", 504), ("failing", 502), ("gone", 502), ("killed", 502), ("breaker", 503)]
)
def test_the_status_of_a_service_depends_on_the_failure_of_its_call(trouble: str, status: int) -> None:
    """504 after a timeout, 503 with an open breaker, else 502."""
    stand = chain(CallPolicy(1.0, breaker=1 if trouble == "breaker" else None))
    back = stand["back"]
    if trouble == "slow":
        back.slow_down(100.0)
    elif trouble == "gone":
        back.retire(back.replicas[0])
    else:
        back.fail_ratio = 1.0
    if trouble == "breaker":
        stand.mesh.enter(flow("front"), 0, 0)
        stand.run(5.0)
        stand.take()
    stand.mesh.enter(flow("front"), 0, 0)
    if trouble == "killed":
        stand.run(0.05)
        back.retire(back.replicas[0], drain=False)
    stand.run(10.0)
    (answer,) = (span for span in stand.take() if span.resource["service.name"] == "front" and span.kind == "server")
    assert answer.attributes["http.response.status_code"] == status


def test_a_timeout_propagates_as_504_through_all_callers() -> None:
    """504 stays 504, even through services with defects of their own."""
    middle = service("middle", call("back", timeout=0.05))
    stand = Stand([service("front", call("middle", timeout=9.0)), middle, service("back", Cpu(1.0))])
    stand.start_all()
    stand["front"].fail_ratio = stand["middle"].fail_ratio = 1.0
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    codes = {span.resource["service.name"]: span.code for span in stand.take() if span.kind == "server"}
    assert codes == {"front": 504, "middle": 504, "back": 200}


def test_a_deploy_changes_a_callers_policy() -> None:
    """A shorter timeout and more attempts apply from the next call on, and to that callee only."""
    stand = chain(CallPolicy(1.0))
    stand["front"].override("back", timeout=0.01, attempts=3)
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(10.0)
    assert [span.attributes["error.type"] for span in clients(stand.take(), "back")] == ["timeout"] * 3
    with pytest.raises(ValueError, match="front does not call 'absent'; it calls back"):
        stand["front"].override("absent", timeout=1.0)


@pytest.mark.parametrize(
    ("timeout", "attempts", "slow", "ends"),
    [
        (5.0, 1, 1.0, (1, 0, 0, 1)),
        (0.05, 1, 9.0, (0, 0, 1, 1)),
        (0.05, 3, 9.0, (0, 0, 1, 3)),
        (5.0, 2, -1.0, (0, 1, 0, 2)),
    ],
)
def test_users_retry_and_end_once(timeout: float, attempts: int, slow: float, ends: tuple[int, int, int, int]) -> None:
    """A user request is answered, failed or given up, once, whatever its number of attempts.

    Each attempt is a trace.
    """
    stand = Stand([service("front", Cpu(0.1, 0.0))])
    stand.start_all()
    stand["front"].slow_down(abs(slow))
    stand["front"].fail_ratio = float(slow < 0)
    stand.mesh.enter(replace(flow("front"), timeout=timeout, attempts=attempts), 0, 0)
    stand.run(30.0)
    mesh = stand.mesh
    assert (mesh.answered, mesh.failed, mesh.given_up, mesh.attempts) == ends
    assert len({span.trace_id for span in stand.take() if not span.parent_id}) == attempts


def test_tokens_of_a_call_are_at_most_those_of_the_request() -> None:
    """The same holds for the bytes on the wire, except to a database."""
    steps = [
        Call("model", ROUTE, CallPolicy(9.0), prompt_tokens=512, generated_tokens=0),
        Call("model", ROUTE, CallPolicy(9.0)),
        Call("table", ROUTE, CallPolicy(9.0)),
    ]
    table = replace(service("table", Cpu(0.001), kind="database"), operations=(OperationSpec(ROUTE, (), 70, 30),))
    stand = Stand([service("front", *steps), service("model", Cpu(0.001)), table])
    stand.start_all()
    for prompt in (100, 2000):
        stand.network.sent.clear()
        stand.mesh.enter(flow("front"), prompt, 40)
        stand.run(stand.engine.now + 5.0)
        sizes = [size for _, _, size in stand.network.sent]
        assert sizes == [900 + 5 * min(512, prompt), 900, 900 + 5 * prompt, 900 + 5 * 40, 70, 30]


def test_a_tenants_calls_have_the_tokens_of_their_spec() -> None:
    """No request precedes them; without token counts they have 0 tokens."""
    stand = Stand([service("s", Cpu(0.01))])
    stand.start_all()
    calls = [Call("s", ROUTE, CallPolicy(1.0), prompt_tokens=512), Call("s", ROUTE, CallPolicy(1.0))]
    tenant = stand.mesh.tenant(ServiceName("ml", "batch"), stand.hosts["host-2"], 7, calls)

    def work() -> Process:
        unit = tenant.begin()
        for line in tenant.call_sites:
            yield from tenant.try_call(unit, line)
        tenant.end(unit, "unit", {})

    stand.engine.spawn(work())
    stand.run(5.0)
    assert [size for _, _, size in stand.network.sent] == [900 + 5 * 512, 900, 900, 900]
    assert [span.kind for span in stand.take()] == ["server", "client"] * 2 + ["internal"]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([service("a", call("b", timeout=1.0))], "a calls 'b', but there is no such service; there are a"),
        ([service("a", Call("a", "GET /x", CallPolicy(1.0)))], "a calls 'GET /x' of a, which offers 'POST /work'"),
        ([service("a", Cpu(1.0)), service("a", Cpu(1.0))], "there are two services called 'a'; rename one"),
        (
            [service("a", call("b", timeout=1.0), kind="cache"), service("b", Cpu(1.0))],
            "a is a cache and calls b; a cache makes no calls: let its callers",
        ),
        ([replace(service("a", Serve()), model=None)], "a has a Serve step but no model; give it one"),
        (
            [service("a", call("b", CallPolicy(1.0, fallback=("c", ROUTE)))), service("b", Cpu(1.0))],
            "a calls 'c', but there is no such service",
        ),
    ],
)
def test_calls_to_unknown_targets_are_rejected_with_a_remedy(specs: list[ServiceSpec], message: str) -> None:
    """Before anything runs, with the names in the message."""
    with pytest.raises(ValueError, match=message):
        Stand(specs)


def test_flows_and_flushes_of_unknown_targets_are_rejected() -> None:
    """The message names the flow, or the known caches."""
    stand = Stand([service("a", Cpu(1.0))])
    with pytest.raises(ValueError, match="flow to-b asks 'b', but there is no such service; there are a"):
        stand.mesh.enter(flow("b"), 0, 0)
    with pytest.raises(ValueError, match="there is no cache 'x'; there are none"):
        stand.mesh.flush("x")
