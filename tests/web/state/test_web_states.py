"""The state of a service is one, on pages and in the API; an incident has its own services alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.web.pages.test_web_course import staged
from tests.web.worlds import NOW, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.incident import Incident, SuspectedCause
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.api.list_routes import services as listed_services
from foreshock_dashboard.web.http.responses import envelope
from foreshock_dashboard.web.pages.now.data import now
from foreshock_dashboard.web.pages.services.data import service as service_page
from foreshock_dashboard.web.pages.services.data import services as services_page
from foreshock_dashboard.web.panels.worst_incident import WorstIncident
from foreshock_dashboard.web.state.conditions import states
from foreshock_dashboard.web.state.service_history import HistoryCache

SUSPECT, AFFECTED = service("rag-api"), service("embedder")


def failing_suspect() -> Snapshot:
    """An incident of whose suspected cause all requests fail, beyond its SLO."""
    world = contended()
    failed = world.red.error_rate.copy()
    failed[world.services.index(SUSPECT), -20:] = 1.0
    world = replace(world, red=replace(world.red, error_rate=failed))
    item = replace(
        contention_incident(world),
        cause="overload",
        suspect=SuspectedCause(SUSPECT),
        affected=(AFFECTED, SUSPECT),
        stage="breached",
    )
    slos = tuple(ServiceSlo(who, 0.2, 0.02, learned=True) for who in (SUSPECT, AFFECTED))
    return replace(snapshot(world, item), forecast=Forecast(slos=slos))


def test_a_suspected_cause_in_breach_shows_the_breach_everywhere() -> None:
    """And beside it that it is the suspected cause."""
    seen = failing_suspect()
    shown: dict[str, Any] = {
        "API": next(row for row in listed_services(HistoryCache(), seen)["services"] if row.service == str(SUSPECT)),
        "Now": next(row for row in now(seen, "x")["services"] if row.id == str(SUSPECT)),
    }
    found = {place: (row.health, row.condition, row.suspected) for place, row in shown.items()}
    line = next(row for row in services_page(seen)["services"] if row["id"] == str(SUSPECT))
    found["Services"] = line["health"], line["condition"], line["suspected"]
    assert found == dict.fromkeys(found, ("critical", "slo_breach", True))
    assert service_page(seen, SUSPECT)["word"] == "SLO breach"
    assert line["reason"] == ""


def test_only_the_service_of_an_incident_has_its_severity() -> None:
    """Beside a state that may be milder; the services that it affects have none."""
    world = contended()
    item = contention_incident(world)
    rows = services_page(snapshot(world, item))["services"]
    assert {row["id"]: row["incident_status"] for row in rows if row["incident_status"]} == {
        str(item.service): item.severity
    }


def test_a_state_is_the_stage_of_a_service_unless_its_condition_says_more() -> None:
    world = contended()
    history = staged(
        world,
        ("auth", slice(-9, None), "degraded"),
        ("gateway", slice(-9, None), "early_warning"),
        ("embedder", slice(-9, None), "early_warning"),
    )
    found = states(snapshot(world, contention_incident(world)), history)
    kinds = {name: (found[service(name)].kind, found[service(name)].word) for name in ("auth", "gateway", "embedder")}
    assert kinds == {
        "auth": ("degraded", "Degraded"),
        "gateway": ("anomalous", "Anomalous"),
        "embedder": ("affected", "Affected"),
    }


def two_incidents() -> tuple[Incident, Incident]:
    """One that paged, and an early warning of another service with another suspected cause."""
    first = contention_incident(contended())
    other = replace(
        contention_incident(contended(), "vllm-8b", "summarize", severity="warning"),
        since=first.since - 60,
        opened=first.opened - 60,
        cause="overload",
        paged=None,
    )
    return first, other


def test_timeline_and_services_of_now_are_of_the_incident_of_the_banner() -> None:
    """The other one is a line beside it, with the value and the limit, and has its evidence below."""
    first, other = two_incidents()
    page = now(snapshot(contended(), first, other), "x")
    situation = page["verdict"]["situation"]
    assert situation is not None
    assert (situation["incident"]["id"], situation["more"]) == (first.id, 0)
    (line,) = situation["further"]
    assert (line.id, line.status, line.badge, line.since) == (
        other.id,
        "warning",
        "Early warning · not paged",
        other.since,
    )
    assert "".join(clause.text for clause in line.clauses).startswith(f"{other.service} ")
    assert [lane.service for lane in page["timeline"].lanes][:2] == ["train-llm", "embedder"]
    named = {lane.service for lane in page["timeline"].lanes} | {row.id for row in page["services"]}
    assert not named & {"summarize", "vllm-8b"}
    assert {event.at for event in page["timeline"].events} == {first.paged}
    assert [item["id"] for item in page["open_incidents"]] == [first.id, other.id]


def test_while_learning_services_with_requests_come_first() -> None:
    rows = [row.id for row in now(snapshot(healthy_world()), "x")["services"]]
    assert not {"train-llm", "batch-eval"} & set(rows)


def test_a_load_that_is_over_is_named_by_its_peak() -> None:
    """In the past tense, against what was normal."""
    world = contended()
    row = world.services.index(SUSPECT)
    rate = world.red.rate.copy()
    rate[row] = 5.0
    rate[row, -20:-4] = 30.0
    world = replace(world, red=replace(world.red, rate=rate))
    item = replace(
        contention_incident(world),
        cause="overload",
        suspect=SuspectedCause(SUSPECT),
        state="recovering",
        recovering_since=NOW - 20,
    )
    situation = now(snapshot(world, item), "x")["verdict"]["situation"]
    assert situation is not None
    said = "".join(clause.text for clause in situation["suspected"])
    assert said == "Overload: extra load from rag-api, request rate peaked at 30 req/s (baseline 5 req/s)"


def test_a_latent_risk_is_named_on_the_page_of_its_service() -> None:
    """Which is within its SLO, but not shown as if it were well."""
    world = healthy_world()
    base = contention_incident(world, severity="warning")
    latent = replace(
        base,
        cause="retry_storm",
        affected=(),
        suspect=SuspectedCause(AFFECTED),
        summary=base.summary._replace(latent=True),
        evidence=(),
    )
    page = service_page(snapshot(world, latent), AFFECTED)
    detail = "".join(clause.text for clause in page["detail_clauses"])
    assert detail.startswith("Latent risk, no impact now. If embedder is down for a short time")
    assert (page["incident_status"], page["is_latent"]) == ("warning", True)


def test_every_answer_names_the_most_urgent_open_incident_that_affects_services() -> None:
    """Neither a latent risk nor a resolved one; a firing one before one that recovers."""
    world = contended()
    firing = contention_incident(world)
    recovering = replace(firing, id="before", state="recovering", since=firing.since - 600)
    latent = replace(firing, id="latent", affected=())
    resolved = replace(firing, id="over", state="resolved", resolved=world.time)
    slo = ServiceSlo(firing.service, 0.2, 0.01, learned=False)
    known = replace(snapshot(world, resolved, latent, recovering, firing), forecast=Forecast(slos=(slo,)))
    named = envelope(known)["worst_incident"]
    assert named == WorstIncident(
        *(firing.id, "critical", "firing", str(firing.service), "GPU contention"),
        figure="error rate 3.4% (SLO 1.0%)",
        action="Move train-llm off host-0/gpu-0 and host-0/gpu-1",
        since=firing.since,
        others=1,
    )
    assert "worst_incident" not in envelope(snapshot(world, resolved, latent))
