"""What is expected of every service, as metrics: for alerts, boards and autoscalers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily

from foreshock_dashboard.model.forecast import Forecast, Load
from foreshock_dashboard.model.service import Service

SERVICE = ("service_name", "service_namespace")
EDGE = ("client", "client_service_namespace", "server", "server_service_namespace")
"""As the service graph has them."""
Row = tuple[tuple[str, ...], float]


def forecast_families(outlook: Forecast) -> Iterator[GaugeMetricFamily]:
    """Every family, also those without a series; what is not known, or further off than is looked, has none."""
    yield _family(
        "foreshock_service_risk_ratio",
        "Chance that a service misses its objective within ten minutes.",
        SERVICE,
        ((_named(risk.service), risk.chance) for risk in outlook.risks),
    )
    yield _family(
        "foreshock_service_breach_seconds",
        "Seconds until a service misses its objective, with a chance of 20, 50 and 80 %; 0 where it does.",
        (*SERVICE, "estimate"),
        (
            ((*_named(risk.service), name), seconds)
            for risk in outlook.risks
            for name, seconds in (("p20", risk.p20), ("p50", risk.p50), ("p80", risk.p80))
        ),
    )
    yield _family(
        "foreshock_contention_stalled_ratio",
        "Share of GPU time that a service waits for another one, at most; mean over the GPUs that they share.",
        ("victim", "aggressor", "pool"),
        (((str(each.victim), str(each.aggressor), each.pool), each.ratio) for each in outlook.stalled),
    )
    yield _family(
        "foreshock_retry_amplification_ratio",
        "Attempts per call between two services; 1 without retries.",
        EDGE,
        (
            ((each.client.name, each.client.namespace, each.server.name, each.server.namespace), each.ratio)
            for each in outlook.amplification
        ),
    )
    yield _family(
        "foreshock_offered_load_ratio",
        "What is asked of a service's replicas over what they can do; above 1 where requests wait.",
        (*SERVICE, "pool"),
        ((_place(load), load.ratio) for load in outlook.loads),
    )
    yield _family(
        "foreshock_safe_load_ratio",
        "Offered load up to which a service's own bursts do no harm.",
        (*SERVICE, "pool"),
        ((_place(load), load.safe) for load in outlook.loads),
    )
    yield _family(
        "foreshock_load_imbalance_ratio",
        "Load of a service's busiest replica over the mean of all; 1 where they are alike.",
        SERVICE,
        ((_named(each.service), each.ratio) for each in outlook.imbalance),
    )


def _family(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        if math.isfinite(value):
            family.add_metric(values, value)
    return family


def _named(service: Service) -> tuple[str, ...]:
    return service.name, service.namespace


def _place(load: Load) -> tuple[str, ...]:
    return (*_named(load.service), load.pool)
