"""What is expected of services, as a Prometheus reads it."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from foreshock_dashboard.hub.self_metrics import forecast_families
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, Load, RetryAmplification, Risk
from foreshock_dashboard.model.service import Service

CHAT, BATCH = Service("serving", "chat"), Service("", "batch")
OUTLOOK = Forecast(
    risks=(Risk(CHAT, 0.75, 0.0, 90.0, math.inf), Risk(BATCH, math.nan, math.nan, math.nan, math.nan)),
    loads=(Load(CHAT, "gold", 1.25, 0.5), Load(BATCH, "", 0.5, math.nan)),
    amplification=(RetryAmplification(CHAT, BATCH, 1.5),),
    imbalance=(Imbalance(CHAT, 2.0),),
    stalled=(GpuWait(CHAT, BATCH, "gold", 0.25),),
)
EDGE = 'client="chat",client_service_namespace="serving",server="batch",server_service_namespace=""'


def page(outlook: Forecast) -> list[str]:
    """The series of an outlook, as text."""

    class Families(Collector):
        def collect(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as prometheus_client declares it
            yield from forecast_families(outlook)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_what_is_known_is_told_and_nothing_else() -> None:
    """No NaN, and no infinity: what has no series is not known, or further off than is looked."""
    assert page(OUTLOOK) == [
        'foreshock_service_risk_ratio{service_name="chat",service_namespace="serving"} 0.75',
        'foreshock_service_breach_seconds{estimate="p20",service_name="chat",service_namespace="serving"} 0.0',
        'foreshock_service_breach_seconds{estimate="p50",service_name="chat",service_namespace="serving"} 90.0',
        'foreshock_contention_stalled_ratio{aggressor="batch",pool="gold",victim="serving/chat"} 0.25',
        "foreshock_retry_amplification_ratio{" + EDGE + "} 1.5",
        'foreshock_offered_load_ratio{pool="gold",service_name="chat",service_namespace="serving"} 1.25',
        'foreshock_offered_load_ratio{pool="",service_name="batch",service_namespace=""} 0.5',
        'foreshock_safe_load_ratio{pool="gold",service_name="chat",service_namespace="serving"} 0.5',
        'foreshock_load_imbalance_ratio{service_name="chat",service_namespace="serving"} 2.0',
    ]


def test_nothing_expected_is_no_series() -> None:
    """Absent is never zero."""
    assert page(Forecast()) == []
