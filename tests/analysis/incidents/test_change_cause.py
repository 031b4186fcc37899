"""When a change of a service is the cause of an incident: the service itself is at fault, and changed just before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    BATCH,
    EDGES,
    FRONT,
    GATEWAY,
    LLM,
    START,
    STORE,
    Changes,
    last_point,
    since,
    world,
)

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.incidents.change_cause import (
    CHANGE_LOOKBACK_SECONDS,
    REPORT_DELAY_SECONDS,
    ReportedCause,
    with_change,
)
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.change import Change, ChangeSource
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.incident import Cause, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

AT = 270
"""Grid index of the first sign."""
SLOW_TOKENS = Utilization(3.0, 20.0, 0.5, 0.0, 60.0, 0.5, (0.5,) * 3, 0.4, 0.6)
DEPLOYMENT = Change(-180.0, "deployment", LLM, before="1.4.1", after="1.4.2", source="traces")
"""Times of changes are relative to the first sign."""


class Case(NamedTuple):
    """An incident at `origin` with a cause before its changes are looked at."""

    cause: Cause
    suspect: Service | None = None
    origin: Service = LLM
    values: Changes = MappingProxyType({})
    utilization: Utilization | None = None
    changes: tuple[Change, ...] = (DEPLOYMENT,)


OVERLOADED = Case("overload", utilization=SLOW_TOKENS)
CALLED_MORE = Case("overload", GATEWAY, changes=(replace(DEPLOYMENT, service=GATEWAY),))
MORE_CALLS: Changes = {("edge_rate", ANSWER): since(AT, 5, 12)}
MORE_REQUESTS: Changes = {("rate", GATEWAY): since(AT, 7, 17)}
MORE_CALLS_ABOVE: Changes = {("edge_rate", ASK): since(AT, 5, 12)}
LARGE: Changes = {("cache", LLM): since(AT, 0.3, 0.9)}
JUST_BEFORE = replace(DEPLOYMENT, at=-60.0)


def reported(case: Case) -> tuple[ReportedCause, EvaluationPoint]:
    """The cause that is reported for an incident."""
    seen = world(case.values)
    onset = float(seen.times[AT])
    changes = tuple(sorted((replace(item, at=onset + item.at) for item in case.changes), key=lambda item: item.at))
    point = last_point(replace(seen, changes=changes), case.utilization)
    actions = (Action("restart", case.origin), Action("add_replicas", case.origin))
    before = ReportedCause(case.cause, SuspectedCause(case.suspect), 0.6, actions)
    return with_change(point, case.origin, onset, before), point


@pytest.mark.parametrize(
    ("case", "changed"),
    [
        pytest.param(Case("dependency"), LLM, id="it fails by itself"),
        pytest.param(Case("dependency", LLM, GATEWAY), LLM, id="a callee that changed fails"),
        pytest.param(OVERLOADED, LLM, id="it needs more time per token at the same load"),
        pytest.param(CALLED_MORE._replace(values=MORE_CALLS), GATEWAY, id="a caller makes more calls per request"),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, stage="canary"),)), LLM, id="the new version is a canary"
        ),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, before="1.4.2", after="1.4.1", stage="rollback"),)),
            LLM,
            id="the version is an older one",
        ),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, kind="configuration", setting="generation"),)),
            LLM,
            id="its configuration changed",
        ),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, at=REPORT_DELAY_SECONDS - 10),)),
            LLM,
            id="the change is seen after its effect",
        ),
        pytest.param(Case("hardware", LLM, changes=(JUST_BEFORE,)), LLM, id="its replicas are replaced"),
        pytest.param(
            Case("gpu_contention", GATEWAY, changes=(JUST_BEFORE,)), LLM, id="it waits, and a caller repeats its calls"
        ),
        pytest.param(
            CALLED_MORE._replace(values=MORE_CALLS_ABOVE, changes=(replace(DEPLOYMENT, service=FRONT),)),
            FRONT,
            id="a caller of the suspected one makes more calls per request",
        ),
        pytest.param(
            Case("kv_cache_pressure", GATEWAY, values=LARGE, changes=(replace(DEPLOYMENT, service=GATEWAY),)),
            GATEWAY,
            id="a caller sends requests that need more KV cache",
        ),
    ],
)
def test_a_change_of_the_service_at_fault_is_the_cause(case: Case, changed: Service) -> None:
    """The action is to roll back, and a restart is none."""
    found, point = reported(case)
    (change,) = point.world.changes
    assert (found.cause, found.suspect.service, found.suspect.change) == ("change", changed, change)
    assert [(action.kind, action.target) for action in found.actions] == [
        ("roll_back", change.before),
        ("add_replicas", ""),
    ]
    assert 0.6 < found.confidence <= 0.8


@pytest.mark.parametrize(
    ("case", "is_tracked", "kinds"),
    [
        pytest.param((), True, ("restart",), id="no change of a tracked service"),
        pytest.param((), False, ("inspect_deploys", "restart"), id="no version is known"),
        pytest.param((replace(DEPLOYMENT, service=STORE),), False, ("inspect_deploys", "restart"), id="of another"),
        pytest.param((DEPLOYMENT,), True, ("roll_back", "restart"), id="a change"),
    ],
)
def test_a_rollback_needs_a_change(case: tuple[Change, ...], is_tracked: bool, kinds: tuple[str, ...]) -> None:
    """The service is not at fault by itself here, and the cause of the incident stays."""
    seen = world({})
    onset = float(seen.times[AT])
    changes = tuple(replace(item, at=onset + item.at) for item in case)
    point = last_point(replace(seen, changes=changes, change_tracked=frozenset({LLM} if is_tracked else ())))
    actions = (Action("roll_back", LLM), Action("restart", LLM))
    found = with_change(point, LLM, onset, ReportedCause("network", SuspectedCause(LLM), 0.6, actions))
    assert (found.cause, tuple(action.kind for action in found.actions)) == ("network", kinds)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(OVERLOADED._replace(changes=()), id="nothing changed"),
        pytest.param(CALLED_MORE._replace(cause="dependency", suspect=STORE, origin=GATEWAY), id="a callee"),
        pytest.param(OVERLOADED._replace(values={("rate", LLM): since(AT, 5, 12)}), id="more requests"),
        pytest.param(Case("overload"), id="load that the tokens explain"),
        pytest.param(CALLED_MORE, id="a caller with as many calls as before"),
        pytest.param(CALLED_MORE._replace(values={**MORE_CALLS, **MORE_REQUESTS}), id="a caller with more requests"),
        pytest.param(Case("gpu_contention", BATCH, utilization=SLOW_TOKENS), id="a neighbor on its GPUs"),
        pytest.param(Case("gpu_contention", BATCH, changes=(JUST_BEFORE,)), id="a neighbor just after the change"),
        pytest.param(Case("gpu_contention", GATEWAY), id="a caller long after the change"),
        pytest.param(
            Case("gpu_contention", GATEWAY, values=MORE_REQUESTS, changes=(JUST_BEFORE,)), id="a caller with more load"
        ),
        pytest.param(Case("hardware", LLM), id="replicas that are lost long after the change"),
        pytest.param(Case("network"), id="the network"),
        pytest.param(Case("hardware"), id="its GPUs"),
        pytest.param(OVERLOADED._replace(changes=(replace(DEPLOYMENT, kind="scaling"),)), id="a number of replicas"),
        pytest.param(OVERLOADED._replace(changes=(replace(DEPLOYMENT, service=STORE),)), id="another service's change"),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, at=-CHANGE_LOOKBACK_SECONDS - 1),)), id="an old change"
        ),
        pytest.param(
            OVERLOADED._replace(changes=(replace(DEPLOYMENT, at=REPORT_DELAY_SECONDS + 1),)), id="a later change"
        ),
    ],
)
def test_what_explains_the_trouble_otherwise_remains_the_cause(case: Case) -> None:
    found, _ = reported(case)
    assert (found.cause, found.suspect.change, found.confidence) == (case.cause, None, 0.6)
    assert found.actions[0].kind == "restart"


@pytest.mark.parametrize("source", ["traces", "github", "argocd", "api"])
@pytest.mark.parametrize("minutes", [-2, 1])
def test_of_two_services_deployed_within_minutes_the_one_at_fault_is_the_cause(
    minutes: float, source: ChangeSource
) -> None:
    """Before or after the other, collected or reported; alone, the other's is no cause (above)."""
    other = replace(DEPLOYMENT, service=GATEWAY, at=DEPLOYMENT.at + 60 * minutes, after="7")
    found, _ = reported(OVERLOADED._replace(changes=(replace(DEPLOYMENT, source=source), other)))
    assert found.suspect.change is not None
    assert (found.cause, found.suspect.service, found.suspect.change.source) == ("change", LLM, source)


def test_a_caller_that_times_out_sooner_after_its_deployment_is_the_cause() -> None:
    seen = world({})
    onset = float(seen.times[AT])
    deployed = replace(DEPLOYMENT, service=GATEWAY, at=onset - 60)
    point = last_point(replace(seen, changes=(deployed,)), None)
    before = ReportedCause("retry_storm", SuspectedCause(GATEWAY, edge=(GATEWAY, LLM)), 0.6, ())
    assert with_change(point, LLM, onset, before).suspect.change == deployed
    stormed = before._replace(suspect=SuspectedCause(LLM, edge=(GATEWAY, LLM)))
    assert with_change(point, LLM, onset, stormed).cause == "retry_storm"


def test_a_deployment_of_a_service_that_waits_for_its_neighbor_is_no_cause() -> None:
    """Nor are those of the neighbor's victims, all of which changed minutes before."""
    case = Case("gpu_contention", BATCH, utilization=SLOW_TOKENS)
    deployed = tuple(replace(DEPLOYMENT, service=service) for service in (LLM, GATEWAY, STORE))
    found, _ = reported(case._replace(changes=deployed))
    assert (found.cause, found.suspect.service, found.suspect.change) == ("gpu_contention", BATCH, None)


def test_the_newest_change_is_the_cause_and_the_nearer_it_is_the_surer() -> None:
    changes = tuple(replace(DEPLOYMENT, at=-before, after=str(before)) for before in (1700.0, 900.0, 0.0))
    found = [reported(OVERLOADED._replace(changes=changes[: count + 1]))[0] for count in range(3)]
    assert [item.suspect.change.after for item in found if item.suspect.change] == ["1700.0", "900.0", "0.0"]
    assert sorted(item.confidence for item in found) == [item.confidence for item in found]
    assert found[-1].confidence == pytest.approx(0.8)


OTHER = Service("product", "another-caller")
MORE_CALLERS = replace(world(LARGE), edges=(*EDGES[:-1], Edge(OTHER, LLM)))
"""Requests at the model need more KV cache, and it is unknown of which of the two callers."""


@pytest.mark.parametrize(
    ("suspect", "changed", "cause"),
    [
        (OTHER, GATEWAY, "kv_cache_pressure"),
        (GATEWAY, OTHER, "kv_cache_pressure"),
        (LLM, GATEWAY, "kv_cache_pressure"),
        (GATEWAY, GATEWAY, "change"),
    ],
)
def test_longer_requests_of_several_callers_are_not_those_of_a_bystander_that_changed(
    suspect: Service, changed: Service, cause: Cause
) -> None:
    onset = float(MORE_CALLERS.times[AT])
    deployed = replace(DEPLOYMENT, service=changed, at=onset - 60)
    point = last_point(replace(MORE_CALLERS, changes=(deployed,)))
    found = with_change(point, LLM, onset, ReportedCause("kv_cache_pressure", SuspectedCause(suspect), 0.6, ()))
    assert (found.cause, found.suspect.service) == (cause, suspect)


def test_of_several_changed_callers_the_one_with_the_largest_effect_is_the_cause() -> None:
    """`FRONT` is before `GATEWAY` in the order of their names, and calls somewhat more as well."""
    seen = world({("edge_rate", ASK): since(AT, 5, 7.5), ("edge_rate", ANSWER): since(AT, 5, 12)})
    onset = float(seen.times[AT])
    deployed = tuple(replace(DEPLOYMENT, service=service, at=onset - 60) for service in (FRONT, GATEWAY))
    point = last_point(replace(seen, changes=deployed))
    found = with_change(point, LLM, onset, ReportedCause("overload", SuspectedCause(LLM), 0.6, ()))
    assert found.suspect.service == GATEWAY


def test_the_changes_of_a_point_are_read_once_for_all_callers() -> None:
    reads = 0

    class Counted(tuple[Change, ...]):
        def __reversed__(self) -> Iterator[Change]:
            nonlocal reads
            reads += 1
            return iter(self[::-1])

    point = last_point(replace(world(), changes=Counted((replace(DEPLOYMENT, service=STORE, at=START),))))
    actions = (Action("roll_back", LLM), Action("roll_back", GATEWAY))
    with_change(point, LLM, float(point.time), ReportedCause("overload", SuspectedCause(LLM), 0.6, actions))
    assert reads == 1
