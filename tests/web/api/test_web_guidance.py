"""What callers and load balancers read: whether to send, when to come again, and where there is room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.web.caller import Caller
from tests.web.worlds import POINTS, SCENES, FakeHub, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.forecast import Forecast, Load, Risk
from foreshock_dashboard.model.incident import Severity, State
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world_sections import ModelServers, Replica
from foreshock_dashboard.web.api.load_balancing import advice, headroom
from foreshock_dashboard.web.app import create_app

EMBEDDER = service("embedder")


def seen(incident: tuple[Severity, State] | None = None, outlook: Forecast = Forecast()) -> Snapshot:  # noqa: B008
    """A tick with an incident of the embedder, and an outlook."""
    world = contended() if incident else healthy_world()
    found = snapshot(
        world, *([contention_incident(world, severity=incident[0], state=incident[1])] if incident else [])
    )
    return replace(found, forecast=outlook)


def risky(probability: float, p50: float = 300.0) -> Forecast:
    """The embedder may breach."""
    return Forecast(risks=(Risk(EMBEDDER, probability, p50 / 2, p50 / 2, p50, p50 * 2, p50 * 2),))


@pytest.mark.parametrize(
    ("incident", "outlook", "state", "reason"),
    [
        (None, Forecast(), "ok", ""),
        (("warning", "firing"), Forecast(), "degraded", "embedder is degraded: p95 412 ms (baseline 105 ms)."),
        (("critical", "firing"), Forecast(), "shed", "embedder is degraded: p95 412 ms (baseline 105 ms)."),
        (("critical", "resolved"), Forecast(), "ok", ""),
        (None, risky(0.4), "ok", ""),
        (None, risky(0.6), "degraded", "SLO breach forecast: median < 15 min"),
        (None, risky(1.0, 0.0), "degraded", "SLO breach"),
        (None, Forecast(loads=(Load(EMBEDDER, "", 0.5, 0.6),)), "ok", ""),
        (None, Forecast(loads=(Load(EMBEDDER, "", 0.7, 0.6),)), "degraded", "load 70% (safe limit 60%)"),
        (None, Forecast(loads=(Load(EMBEDDER, "", 0.7, float("nan")),)), "ok", ""),
    ],
)
def test_a_service_is_ok_degraded_or_to_be_spared(
    incident: tuple[Severity, State] | None, outlook: Forecast, state: str, reason: str
) -> None:
    """By its open incident first, then by what is expected of it."""
    found = advice(seen(incident, outlook), EMBEDDER)
    assert found.state == state
    assert found.reason.startswith(reason)
    assert (found.retry_after is None) is (state == "ok")


def test_a_noisy_neighbor_is_ok_and_callers_of_the_affected_service_are_degraded() -> None:
    """Calls to the aggressor do no harm to it; the victim's callers are slow but not where it hurts most."""
    world = contended()
    item = replace(contention_incident(world), affected=(EMBEDDER, service("rag-api")))
    result = snapshot(world, item)
    assert advice(result, service("train-llm")).state == "ok"
    assert advice(result, service("rag-api")).state == "degraded"
    assert advice(result, EMBEDDER).state == "shed"


@pytest.mark.parametrize(("p95", "seconds"), [(0.4, 10.0), (42.5, 42.5), (4000.0, 300.0), (float("nan"), 10.0)])
def test_a_shed_service_is_retried_after_the_duration_of_a_request(p95: float, seconds: float) -> None:
    """No sooner than the hub looks again, and no later than five minutes."""
    world = contended()
    slow = world.red.p95.copy()
    slow[world.services.index(EMBEDDER), -1] = p95
    world = replace(world, red=replace(world.red, p95=slow))
    assert advice(snapshot(world, contention_incident(world)), EMBEDDER).retry_after == seconds


@pytest.mark.parametrize("scene", ["blind", "error", "stale", "preview"])
def test_without_fresh_data_no_service_is_shed_and_the_reason_is_stated(scene: str) -> None:
    """An unknown state is ok, and known is false."""
    found = advice(SCENES[scene](), service("gateway"))
    assert (found.state, found.known) == ("ok", False)
    assert found.reason


def test_a_service_without_data_is_unknown() -> None:
    """It is there, as the client of a call or a name on a GPU; a service that merely has no requests is well."""
    world = healthy_world()
    row = world.services.index(service("rag-api"))
    nothing, idle = world.red.rate.copy(), world.red.rate.copy()
    nothing[row], idle[row] = np.nan, 0.0
    for rate, known in ((nothing, False), (idle, True)):
        found = advice(snapshot(replace(world, red=replace(world.red, rate=rate))), service("rag-api"))
        assert (found.state, found.known) == ("ok", known)
    assert found.reason == ""


def test_the_answer_has_the_header_that_gateways_read(caller: Caller, hub: FakeHub) -> None:
    """Retry-After in whole seconds, the same as in the body."""
    hub.snapshot = seen(("critical", "firing"))
    answer = caller.get("/api/health/embedder")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["service"], body["state"], body["known"]) == ("embedder", "shed", True)
    assert int(answer.headers["Retry-After"]) == body["retry_after"] >= 10
    hub.snapshot = seen()
    assert "Retry-After" not in caller.get("/api/health/embedder").headers


def test_a_service_with_a_namespace_is_found_with_and_without_it() -> None:
    """As everywhere."""
    world = healthy_world()
    named = tuple(each._replace(namespace="prod") if each == EMBEDDER else each for each in world.services)
    client = Caller(create_app(FakeHub(snapshot(replace(world, services=named))), version="0"))
    for path in ("embedder", "prod/embedder"):
        assert client.get(f"/api/health/{path}").json()["service"] == "prod/embedder"


def test_room_is_ranked_and_what_is_not_known_comes_last() -> None:
    """Pools by what their service can still take; too much is negative."""
    loads = (
        Load(service("a"), "chat", 0.7, 0.6),
        Load(service("b"), "", 0.2, 0.5),
        Load(service("c"), "", 0.2, float("nan")),
        Load(service("d"), "", 0.1, 0.5),
    )
    pools = headroom(seen(outlook=Forecast(loads=loads)))["pools"]
    assert [row.service for row in pools] == ["d", "b", "a", "c"]
    assert [row.spare_ratio for row in pools] == [0.4, 0.3, pytest.approx(-0.1), None]
    assert [row.pool for row in pools] == [None, None, "chat", None]


def test_replicas_share_their_services_load_by_the_requests_on_them(caller: Caller, hub: FakeHub) -> None:
    """The busiest has the least room; one that has gone is left out."""
    replicas = tuple(Replica(EMBEDDER, f"host-{i}:8000") for i in range(3))
    busy = np.repeat([[2.0], [6.0], [4.0]], POINTS, axis=1)
    busy[2, -1] = np.nan
    result = replace(ModelServers.empty(POINTS), replicas=replicas, replica_busy=busy)
    found = seen(outlook=Forecast(loads=(Load(EMBEDDER, "", 0.4, 0.6), Load(service("vllm-8b"), "", 0.1, 0.2))))
    assert found.world
    hub.snapshot = replace(found, world=replace(found.world, model_servers=result))
    rows = caller.get("/api/headroom?service=embedder").json()
    assert [(row["instance"], row["requests"]) for row in rows["replicas"]] == [
        ("host-0:8000", 2.0),
        ("host-1:8000", 6.0),
    ]
    assert [row["load_ratio"] for row in rows["replicas"]] == [pytest.approx(0.2), pytest.approx(0.6)]
    assert [row["service"] for row in rows["pools"]] == ["embedder"]
