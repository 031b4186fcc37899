"""One slow or failing operation of a service whose other requests hide it."""

from __future__ import annotations

import pytest
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Operation

HOME = Operation(service("front"), "GET /home")


def shop(home: Served, listing: Served) -> Platform:
    """A front whose p95 is that of its slow questions, and a listing that its home page calls."""
    return Platform(
        services={"front": Served(3.0, 4.0), "listing": listing},
        calls={("user", "front"): Served(3.0, 4.0), ("front", "listing"): listing},
        kinds={
            ("front", "GET /home"): home,
            ("front", "GET /ask"): Served(1.0, 4.0),
            ("listing", "GET /list"): listing,
        },
    )


SLOW = shop(Served(2.0, step(0.1, 0.3)), Served(2.0, step(0.05, 0.25)))
FAILING = shop(Served(2.0, 0.1, step(0.0, 0.2)), Served(2.0, 0.05, step(0.0, 0.2)))
RARE = shop(Served(0.3, step(0.1, 0.3)), Served(2.0, 0.05))
FAILING_RARE = shop(Served(0.3, 0.1, step(0.0, 0.5)), Served(0.3, 0.05, step(0.0, 0.5)))
HARDLY_FAILING = shop(Served(0.3, 0.1, step(0.0, 0.1)), Served(0.3, 0.05, step(0.0, 0.1)))
OFTEN_FAILING = shop(Served(0.3, 0.1, step(0.45, 0.5)), Served(0.3, 0.05, step(0.45, 0.5)))


@pytest.mark.parametrize(
    ("platform", "configured", "operation"),
    [
        (SLOW, {}, HOME),
        (FAILING, {}, HOME),
        (RARE, {}, None),
        (FAILING_RARE, {}, HOME),
        (HARDLY_FAILING, {}, None),
        (SLOW, {service("front"): Slo(5.0, 0.01)}, None),
    ],
    ids=[
        "slow",
        "failing",
        "a handful of slow requests",
        "nine of a handful of requests fail",
        "two of them fail",
        "within the configured SLO",
    ],
)
def test_a_service_breaches_its_slo_with_one_operation(
    platform: Platform, configured: dict[Service, Slo], operation: Operation | None
) -> None:
    """A configured SLO holds for each operation, except where that is slower at its baseline."""
    point = platform.point()
    risk = service_risks(point, slos(point, configured))[service("front")]

    assert risk.breached == (operation is not None)
    assert operation is None or (risk.operation is not None and risk.operation[0] == operation)


@pytest.mark.parametrize(("rate", "breaches"), [(1.2, True), (1.9, False)])
def test_an_operation_with_nearly_all_requests_has_no_slo_beside_that_of_its_service(
    rate: float, breaches: bool
) -> None:
    """Pages and messages state one SLO for one population of requests."""
    kinds = {("listing", "GET /list"): Served(rate, step(0.1, 0.3))}
    point = Platform(services={"listing": Served(2.0, step(0.1, 0.13))}, kinds=kinds).point()
    risk = service_risks(point, slos(point, {}))[service("listing")]

    assert (risk.breached, risk.operation is not None) == (breaches, breaches)


@pytest.mark.parametrize("platform", [SLOW, FAILING, FAILING_RARE])
def test_a_callee_that_affects_one_operation_pages(platform: Platform) -> None:
    """The p95 of all requests of the front does not show it."""
    point = platform.point()
    found = [*dependency(point)]
    pages = incident_candidates(point, service_risks(point, slos(point, {})), found, {})

    assert {(finding.service, finding.suspect.service) for finding in found if finding.strength > 0.5} == {
        (service("front"), service("listing")),
        (service("listing"), service("listing")),
    }
    assert [(candidate.origin, candidate.affected_callers, candidate.page) for candidate in pages] == [
        (service("listing"), (service("front"),), True)
    ]


@pytest.mark.parametrize("platform", [HARDLY_FAILING, OFTEN_FAILING], ids=["two fail", "as many as before fail"])
def test_a_handful_of_failures_is_no_finding(platform: Platform) -> None:
    """Of eighteen requests a minute."""
    assert not [item for item in findings(platform.point()) if item.strength >= FINDING_STRENGTH]


@pytest.mark.parametrize(("p95", "is_forecast"), [(0.145, True), (0.1, False)])
def test_slower_medians_forecast_a_breach_if_p95_shows_them(p95: float, is_forecast: bool) -> None:
    """Else there are only more of the long requests."""
    front = Served(3.0, step(0.1, p95, at=235), tailless=step(0.1, 0.4, at=235))
    point = Platform(services={"front": front}).point()
    risk = service_risks(point, slos(point, {}))[service("front")]

    assert not risk.breached
    assert (risk.score > 0.3) == is_forecast


def test_evidence_names_the_operation() -> None:
    found = {finding.service: finding for finding in dependency(SLOW.point())}

    assert ("p95", "front GET /home") in {(item.name, item.entity) for item in found[service("front")].evidence}
