"""The state of a service is the same word on every page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.web.worlds import (
    SCENES,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.incident import (
    AtRisk,
)
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.api.list_routes import services as listed_services
from foreshock_dashboard.web.pages.services.data import services
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.service_history import HistoryCache


def test_a_service_without_requests_has_null_durations_and_a_zero_rate() -> None:
    """Zero requests were seen; how long they took cannot be said."""
    rows = {row.service: row for row in listed_services(HistoryCache(), snapshot(healthy_world()))["services"]}
    idle = rows["train-llm"]
    assert idle.requests_per_second == 0
    assert [getattr(idle, key) for key in ("error_rate", "p50_seconds", "p95_seconds", "p99_seconds")] == [None] * 4
    assert idle.condition == "no_traffic"


def test_an_affected_caller_is_shown_as_a_warning() -> None:
    """On the map and in the table it is not healthy."""
    hit = service("gateway")
    incident = replace(contention_incident(contended()), affected=(service("embedder"), hit))

    assert conditions.condition(hit, (incident,), rate=5.0, error_rate=0.0) == conditions.Condition(
        "warning", "affected"
    )
    assert conditions.condition(service("auth"), (incident,), rate=5.0, error_rate=0.0).word == "Healthy"


@pytest.mark.parametrize(
    ("failed", "rate", "expected"),
    [
        (0.0, 5.0, ("ok", "healthy")),
        (0.02, 5.0, ("warning", "errors")),
        (0.05, 5.0, ("critical", "errors")),
        (None, 0.0, ("idle", "no_traffic")),
        (None, None, ("idle", "no_traffic")),
    ],
)
def test_the_condition_of_a_service_follows_its_errors(
    failed: float | None, rate: float | None, expected: tuple[str, str]
) -> None:
    """State and word for each level of errors."""
    assert conditions.condition(service("api"), (), rate, failed)[:2] == expected


def test_a_service_in_slo_breach_is_not_healthy() -> None:
    """A service within its SLO, or without one, is."""
    world = healthy_world()
    limits = {"auth": 0.02, "gateway": 100.0}
    slos = tuple(ServiceSlo(service(name), seconds, 0.01, learned=True) for name, seconds in limits.items())
    seen = replace(snapshot(world), forecast=Forecast(slos=slos))
    rows: dict[str, Json] = {row["id"]: dict(row) for row in services(seen)["services"]}
    assert rows["auth"]["slo_usage"] > 1
    assert (rows["auth"]["health"], rows["auth"]["word"]) == ("warning", "SLO breach")
    assert (rows["gateway"]["word"], rows["embedder"]["word"]) == ("Healthy", "Healthy")
    assert conditions.condition(service("auth"), (), 5.0, 0.06, slo_usage=6.0)[:2] == ("critical", "errors")


def test_the_affected_service_and_the_suspected_cause_have_words_of_their_own() -> None:
    """The condition of any other service follows its own values."""
    state = conditions.conditions(SCENES["contended"]())
    assert state[service("embedder")][:2] == ("critical", "affected")
    assert state[service("train-llm")][:2] == ("warning", "suspected_cause")
    assert state[service("auth")][:2] == ("ok", "healthy")


def test_a_suspected_cause_that_is_at_risk_itself_counts_as_at_risk() -> None:
    """As in the tile of the SLOs; the table has a chip for its part."""
    soon = AtRisk(service("train-llm"), 100.0, 200.0, 300.0)
    seen = snapshot(w := contended(), replace(contention_incident(w), at_risk=(soon,)))
    assert conditions.conditions(seen)[service("train-llm")][:2] == ("warning", "at_risk")
