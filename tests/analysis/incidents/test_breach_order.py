"""The order in which an origin and its callers are forecast to breach their SLOs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.content import with_forecast
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.stats.level_crossing import QUANTILES

Kit = Any
NEVER = math.inf


def risk(probability: float, median: float) -> ServiceRisk:
    """The risk of a service by its own signals, with the same time at each quantile."""
    return ServiceRisk(False, probability, probability, (median,) * len(QUANTILES), False, None)


@pytest.mark.parametrize(
    ("caller_p95", "trend", "earliest", "latest"),
    [
        pytest.param(2.0, None, 300.0, 600.0, id="without a trend, when the origin's breach reaches it"),
        pytest.param(2.0, NEVER, 300.0, 600.0, id="a trend that reaches no breach changes nothing"),
        pytest.param(2.0, 1500.0, 1500.0, 1500.0, id="a farther trend of the service replaces the propagated time"),
        pytest.param(2.0, 50.0, 300.0, 300.0, id="a nearer trend: no sooner than a service with a symptom"),
        pytest.param(9.0, 1500.0, 300.0, 600.0, id="with a symptom, when the origin's breach reaches it"),
    ],
)
def test_a_caller_without_a_symptom_breaches_by_its_own_trend_and_after_the_origin(
    platforms: Kit, caller_p95: float, trend: float | None, earliest: float, latest: float
) -> None:
    point = platforms.Platform(
        services={
            "gateway": platforms.Served(p95=platforms.step(2.0, caller_p95)),
            "model": platforms.Served(p95=platforms.step(1.9, 8.0)),
        },
        calls={
            ("user", "gateway"): platforms.Served(p95=2.0),
            ("gateway", "model"): platforms.Served(p95=platforms.step(1.9, 8.0)),
        },
    ).point(5)
    gateway, model = map(platforms.service, ("gateway", "model"))
    own = {model: risk(1.0, 300.0)} | ({} if trend is None else {gateway: risk(0.1, trend)})
    incident = Incident("1", "warning", "firing", "overload", model, since=point.time, opened=point.time)

    medians = {item.service: item.p50 for item in with_forecast(incident, Evaluation(point, own, ())).at_risk}

    assert medians[model] == 300.0
    assert earliest <= medians[gateway] <= latest


@pytest.mark.parametrize(
    ("minutes", "requests", "earliest", "latest"),
    [
        pytest.param(math.inf, 10.0, 60.0, 160.0, id="still growing: when it takes the time that the SLO leaves"),
        pytest.param(2.0, 10.0, 30.0, 50.0, id="no longer growing: after the delay between services"),
        pytest.param(math.inf, 0.0, 30.0, 50.0, id="a caller without requests any more: the same"),
    ],
)
def test_a_caller_endures_a_slower_callee_until_its_slo_is_used_up(
    platforms: Kit, minutes: float, requests: float, earliest: float, latest: float
) -> None:
    """p95 of the callee doubles every minute and is 1 s after five; the caller has 1.6 s left."""
    callee = platforms.Served(p95=lambda i: 0.03 * 2 ** min(max(0, i - 240) / 6, minutes))
    caller = platforms.Served(rate=lambda i: 10.0 if i < 240 else requests)
    services, calls = {"front": caller, "store": callee}, {("front", "store"): callee}
    point = platforms.Platform(services, calls).point(30)
    front, store = map(platforms.service, ("front", "store"))
    own = {front: replace(risk(0.0, NEVER), slo=Slo(2.0, 0.01)), store: replace(risk(1.0, 0.0), breached=True)}
    incident = Incident("1", "warning", "firing", "dependency", store, since=point.time, opened=point.time)

    medians = {item.service: item.p50 for item in with_forecast(incident, Evaluation(point, own, ())).at_risk}

    assert earliest <= medians[front] <= latest
