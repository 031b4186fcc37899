"""Metrics of the forecast of every service, for alerts, dashboards, and autoscalers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily

from foreshock_dashboard.model.forecast import Forecast, Load
from foreshock_dashboard.model.service import Service

SERVICE = ("service_name", "service_namespace")
EDGE = ("client", "client_service_namespace", "server", "server_service_namespace")
"""Labels of the service graph."""
Row = tuple[tuple[str, ...], float]


def forecast_families(forecast: Forecast) -> Iterator[GaugeMetricFamily]:
    """All families, also empty ones; unknown values and breaches beyond the horizon have no series."""
    yield _family(
        "foreshock_service_risk_ratio",
        "Chance that a service misses its objective within ten minutes.",
        SERVICE,
        ((_labels(risk.service), risk.chance) for risk in forecast.risks),
    )
    yield _family(
        "foreshock_service_breach_seconds",
        "Seconds until a service misses its objective, with a chance of 20, 50 and 80 %; 0 where it does.",
        (*SERVICE, "estimate"),
        (
            ((*_labels(risk.service), name), seconds)
            for risk in forecast.risks
            for name, seconds in (("p20", risk.p20), ("p50", risk.p50), ("p80", risk.p80))
        ),
    )
    yield _family(
        "foreshock_contention_stalled_ratio",
        "Share of GPU time that a service waits for another one, at most; mean over the GPUs that they share.",
        ("victim", "aggressor", "pool"),
        (((str(item.victim), str(item.aggressor), item.pool), item.ratio) for item in forecast.stalled),
    )
    yield _family(
        "foreshock_retry_amplification_ratio",
        "Attempts per call between two services; 1 without retries.",
        EDGE,
        (
            ((item.client.name, item.client.namespace, item.server.name, item.server.namespace), item.ratio)
            for item in forecast.amplification
        ),
    )
    yield _family(
        "foreshock_offered_load_ratio",
        "What is asked of a service's replicas over what they can do; above 1 where requests wait.",
        (*SERVICE, "pool"),
        ((_pool_labels(load), load.ratio) for load in forecast.loads),
    )
    yield _family(
        "foreshock_safe_load_ratio",
        "Offered load up to which a service's own bursts do no harm.",
        (*SERVICE, "pool"),
        ((_pool_labels(load), load.safe) for load in forecast.loads),
    )
    yield _family(
        "foreshock_load_imbalance_ratio",
        "Load of a service's busiest replica over the mean of all; 1 where they are alike.",
        SERVICE,
        ((_labels(item.service), item.ratio) for item in forecast.imbalance),
    )


def _family(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in rows:
        if math.isfinite(value):
            family.add_metric(label_values, value)
    return family


def _labels(service: Service) -> tuple[str, ...]:
    return service.name, service.namespace


def _pool_labels(load: Load) -> tuple[str, ...]:
    return (*_labels(load.service), load.pool)
