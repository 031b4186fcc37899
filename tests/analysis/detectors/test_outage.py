"""A service that is down is the cause, and its callers are affected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    FRONT,
    GATEWAY,
    GPUS,
    HOSTS,
    LLM,
    QUERY,
    STORE,
    Changes,
    Shape,
    last_point,
    learned_point,
    point,
    since,
    world,
)
from tests.analysis.detectors.test_detectors import SLOW_STORE
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.outages import RESTART_SECONDS, is_down
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import MAX_UNOBSERVED_STRENGTH
from foreshock_dashboard.analysis.detectors.outage import outage
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Resources
from foreshock_dashboard.render.incident_summary import headline

NOW = 290
CALLS_FAIL: Changes = {
    ("edge_error_rate", ANSWER): since(NOW, 0, 1),
    ("edge_p95", ANSWER): since(NOW, 8, 0.01),
    ("error_rate", GATEWAY): since(NOW, 0, 0.7),
    ("error_rate", FRONT): since(NOW, 0, 0.7),
}
SERVES_NOTHING: Changes = {
    ("rate", LLM): since(NOW, 5, 0),
    **{(name, LLM): since(NOW, 1, math.nan) for name in ("error_rate", "p50", "p95")},
    ("edge_server", ANSWER): since(NOW, 8, math.nan),
}
NO_CAPACITY: Changes = {(name, LLM): math.nan for name in ("wanted", "ready")}
NOT_READY: Changes = {("ready", LLM): since(NOW, 2, 0)}
GPUS_LOST: Changes = {("lost", gpu): since(NOW, 0, 1) for gpu in GPUS}


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        (NOT_READY, "dependency"),
        ({**NO_CAPACITY, **GPUS_LOST}, "hardware"),
        ({**NO_CAPACITY, **SERVES_NOTHING}, "dependency"),
        ({**NOT_READY, **GPUS_LOST, **SERVES_NOTHING}, "hardware"),
    ],
    ids=["no replica is ready", "all GPUs are lost", "no call reaches a server", "all of it"],
)
def test_a_service_that_is_down_pages_as_the_cause(shown: Changes, cause: Cause) -> None:
    now = learned_point({**CALLS_FAIL, **shown})
    found = findings(now)
    (candidate,) = incident_candidates(now, service_risks(now, slos(now, {})), found, {})
    assert candidate.origin == LLM
    assert candidate.cause is not None
    assert (candidate.cause.cause, candidate.cause.suspect.service) == (cause, LLM)
    assert candidate.page
    assert set(candidate.affected_callers) == {GATEWAY, FRONT}
    suspected = {finding.suspect.service for finding in found if finding.strength > MAX_UNOBSERVED_STRENGTH}
    assert suspected == {LLM}


@pytest.mark.parametrize(
    "changes",
    [
        {**CALLS_FAIL, ("ready", LLM): since(NOW, 2, 1), ("edge_error_rate", ANSWER): since(NOW, 0, 0.4)},
        {**CALLS_FAIL, **NO_CAPACITY, ("error_rate", LLM): since(NOW, 0, 1)},
        {**CALLS_FAIL, **NO_CAPACITY, ("edge_rate", ANSWER): since(NOW, 5, 14), ("rate", LLM): since(NOW, 5, 4.5)},
        {**NO_CAPACITY, ("rate", LLM): since(NOW, 5, 0), ("edge_rate", ANSWER): since(NOW, 5, 0)},
    ],
    ids=["half of it is lost", "it answers with errors", "it is overloaded by retries", "it has no callers"],
)
def test_a_service_that_answers_is_not_down(changes: Changes) -> None:
    assert not is_down(point(changes), LLM)


def test_a_handful_of_failed_calls_is_no_outage() -> None:
    few: Changes = {("edge_rate", ANSWER): 0.05, ("rate", LLM): since(NOW, 0.05, 0)}
    assert not is_down(point({**CALLS_FAIL, **NO_CAPACITY, **few}), LLM)


def test_an_outage_that_no_client_feels_is_no_firm_finding() -> None:
    (finding,) = outage(point(NOT_READY))
    assert finding.strength <= MAX_UNOBSERVED_STRENGTH


HANGING: Changes = {
    ("edge_rate", ANSWER): since(NOW, 5, 2),
    ("edge_error_rate", ANSWER): since(NOW, 0, 0.15),
    ("edge_p95", ANSWER): since(NOW, 8, 60),
    ("p95", GATEWAY): since(NOW, 8.5, 62),
}
ONE_CLIENT_FAILS: Changes = {("edge_error_rate", ANSWER): since(NOW, 0, 0.05), ("edge_p95", ANSWER): since(NOW, 8, 40)}


@pytest.mark.parametrize(
    ("shown", "is_down"),
    [
        (HANGING, True),
        ({**HANGING, ("edge_error_rate", ANSWER): 0}, False),
        (ONE_CLIENT_FAILS, False),
        ({**HANGING, ("p95", GATEWAY): 8.5}, False),
    ],
    ids=["calls hang", "callers wait for a restart", "most calls are answered", "its caller does without"],
)
def test_a_service_without_capacity_whose_calls_hang_is_down_before_most_have_failed(
    shown: Changes, *, is_down: bool
) -> None:
    """A client that waits a minute reports its calls a minute late; those that ended before were answered."""
    changes = {**NOT_READY, **shown}
    strengths = {finding.service: finding.strength for finding in outage(point(changes))}
    assert (strengths[LLM] > MAX_UNOBSERVED_STRENGTH) == is_down
    built = world(changes)
    *_, last = states(State(time=built.times[NOW - 2]), built)
    headlines = [headline(item) for item in last.incidents if item.summary.down]
    assert headlines == (["serving/llm is down: error rate 15% (learned SLO 1.6%)"] if is_down else [])


def test_calls_that_a_network_loses_are_no_outage() -> None:
    lossy: Changes = {("retransmitted", host): since(NOW, 0, 0.3) for host in HOSTS}
    found = outage(point({**CALLS_FAIL, **NO_CAPACITY, **SERVES_NOTHING, **lossy}))
    assert all(finding.strength <= MAX_UNOBSERVED_STRENGTH for finding in found)


def test_failed_calls_to_an_address_count_for_the_service_that_vanished() -> None:
    """A service graph without peer names shows the address of a callee that sends no spans."""
    platform = Platform(
        services={"front": Served(failed=step(0, 1)), "store": Served(rate=step(10, 0))},
        calls={
            ("user", "front"): Served(failed=step(0, 1)),
            ("front", "store"): Served(rate=step(10, 0)),
            ("front", "10.0.0.7:5432"): Served(rate=step(math.nan, 10), failed=step(math.nan, 1)),
        },
    )
    assert is_down(platform.point(), service("store"))


def checkout_without(calls: Mapping[tuple[str, str], Served]) -> Platform:
    """A checkout that calls payments, which dies, and then shipping."""
    return Platform(
        services={
            "checkout": Served(failed=step(0, 1)),
            "payments": Served(rate=step(10, 0)),
            "shipping": Served(rate=step(14, 4) if calls else step(10, 0)),
        },
        calls={
            ("user", "checkout"): Served(failed=step(0, 1)),
            ("checkout", "payments"): Served(rate=step(10, 0)),
            ("checkout", "shipping"): Served(rate=step(10, 0)),
            ("checkout", "10.0.0.7:5432"): Served(rate=step(math.nan, 10), failed=step(math.nan, 1)),
            **calls,
        },
    )


def test_a_service_that_others_still_call_is_not_down_because_a_failing_client_stopped() -> None:
    now = checkout_without({("admin", "shipping"): Served(rate=4.0)}).point()
    assert is_down(now, service("payments"))
    assert not is_down(now, service("shipping"))


def test_of_two_services_whose_calls_vanished_the_one_without_targets_is_down() -> None:
    """Neither has another caller."""
    platform = checkout_without({})
    built, names = platform.world(), (service("payments"), service("shipping"))
    unknown = np.full((2, len(built.times)), np.nan)
    up = np.array([[step(1, 0)(i) for i in range(len(built.times))], np.ones(len(built.times))])
    rows = {item.name: unknown for item in fields(Resources) if item.name != "services"}
    built = replace(built, resources=Resources(names, **{**rows, "up": up}))
    now = EvaluationPoint(built, platform.at + 5, baselines_at(built, platform.at))
    assert [is_down(now, name) for name in names] == [True, False]


def test_a_caller_that_fails_before_its_calls_has_no_suspected_callee() -> None:
    platform = Platform(
        services={"front": Served(failed=step(0, 1)), "store": Served(rate=step(10, 0))},
        calls={("user", "front"): Served(failed=step(0, 1)), ("front", "store"): Served(rate=step(10, 0))},
    )
    assert not is_down(platform.point(), service("store"))


def test_a_failing_database_without_spans_is_not_down() -> None:
    """Nothing shows whether it answers."""
    changes: Changes = {
        **{(name, STORE): math.nan for name in ("rate", "error_rate", "p50", "p95")},
        ("edge_server", QUERY): math.nan,
        ("edge_error_rate", QUERY): since(NOW, 0, 1),
    }
    assert not is_down(point(changes), Service("data", "store"))


def with_resource(changes: Changes, service_: Service, name: str, shape: Shape) -> World:
    """The platform, where a service reports one resource."""
    built = world(changes)
    values = np.array([[float(shape(index)) for index in range(len(built.times))]])
    unknown = np.full_like(values, np.nan)
    rows = {item.name: unknown for item in fields(Resources) if item.name != "services"}
    return replace(built, resources=Resources((service_,), **{**rows, name: values}))


def test_a_service_with_targets_that_are_down_is_down_if_calls_fail() -> None:
    """One that lost its scrapes alone is not."""
    down = since(NOW, 1, 0)
    assert is_down(last_point(with_resource({**CALLS_FAIL, **NO_CAPACITY}, LLM, "up", down)), LLM)
    assert not is_down(last_point(with_resource(NO_CAPACITY, LLM, "up", down)), LLM)


def test_a_throttled_cpu_is_evidence_of_a_slow_callee() -> None:
    now = last_point(with_resource(SLOW_STORE, STORE, "cpu_throttled", since(NOW, 0.01, 0.7)))
    (finding,) = (item for item in dependency(now) if item.service == STORE)
    assert [(item.value, item.baseline) for item in finding.evidence if item.name == "throttled CPU periods"] == [
        (0.7, 0.01)
    ]


@pytest.mark.parametrize(
    ("missing", "is_lost"),
    [
        (lambda i: 260 <= i < 268 or 274 <= i < 282, False),
        (lambda i: i >= 292, False),
        (lambda i: i >= 260, True),
    ],
    ids=["both replicas are replaced in turn", "one went away just now", "one does not come back"],
)
def test_a_replica_that_is_replaced_is_not_lost(missing: Callable[[int], bool], *, is_lost: bool) -> None:
    """The service is slower meanwhile, and keeps its SLO."""
    slower = {
        (name, key): partial(lambda level, i: level * (1.5 if missing(i) else 1), level)
        for name, key, level in (("p95", LLM, 8.0), ("edge_p95", ANSWER, 8.1), ("edge_server", ANSWER, 8.0))
    }
    restarting = world({("ready", LLM): lambda i: 1 if missing(i) else 2, **slower})
    paged = {item.cause for state in states(State(), restarting) for item in state.incidents if item.paged is not None}
    assert paged == ({"hardware"} if is_lost else set())


@pytest.mark.parametrize(
    ("until", "wanted", "is_paged"),
    [
        pytest.param(282, 2.0, False, id="a restart"),
        pytest.param(300, 2.0, True, id="it does not come back"),
        pytest.param(300, lambda i: 0 if 275 <= i < 280 else 2, False, id="it starts slowly after zero"),
    ],
)
def test_a_service_without_replicas_pages_although_no_client_reports(
    until: int, wanted: Shape | float, *, is_paged: bool
) -> None:
    untold: Changes = {(name, ANSWER): math.nan for name in ("edge_rate", "edge_error_rate", "edge_p95", "edge_server")}
    normal = {"rate": (5, math.nan), "error_rate": (0, math.nan), "p50": (2, math.nan), "p95": (8, math.nan)}
    gone: Changes = {
        (name, LLM): partial(lambda up, down, i: down if 275 <= i < until else up, *values)
        for name, values in {**normal, "ready": (2, 0)}.items()
    }
    *_, last = states(State(), world({**untold, **gone, ("wanted", LLM): wanted}))
    paged = [item for item in last.incidents if item.paged is not None]
    assert [(item.service, item.suspect.service) for item in paged] == ([(LLM, LLM)] if is_paged else [])
    assert all(item.paged is not None and item.paged - (item.since) >= RESTART_SECONDS for item in paged)


@pytest.mark.parametrize(
    ("is_missing", "is_call_known"),
    [(lambda i: i >= NOW, True), (lambda _: True, True), (lambda i: i > 200 and i % 4 == 3, False)],
    ids=["no service is left to report requests", "none ever reports any", "scrapes are lost all the time"],
)
def test_an_outage_is_reported_while_rates_are_missing(
    is_missing: Callable[[int], bool], *, is_call_known: bool
) -> None:
    """Only rates that come back after a gap are of a few seconds, and not for longer than a minute."""
    built = world({("ready", LLM): since(NOW, 2, 0), ("edge_error_rate", ANSWER): since(NOW, 0, 1)})
    missing = np.array([is_missing(i) for i in range(len(built.times))])
    red, calls = (replace(red, rate=np.where(missing, np.nan, red.rate)) for red in (built.red, built.calls))
    built = replace(built, red=red, calls=built.calls if is_call_known else calls)
    *_, last = states(State(time=built.times[NOW - 10]), built)
    assert [(item.service, item.opened <= built.times[NOW + 3]) for item in last.incidents] == [(LLM, True)]
