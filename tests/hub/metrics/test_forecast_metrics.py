"""The forecast as Prometheus metrics."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from foreshock_dashboard.hub.self_metrics import forecast_families
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, Load, RetryAmplification, Risk
from foreshock_dashboard.model.service import Service

CHAT, BATCH, LLM = Service("serving", "chat"), Service("", "batch"), Service("serving", "llm")
OUTLOOK = Forecast(
    risks=(
        Risk(CHAT, 0.75, 30.0, 30.0, 90.0, math.inf, math.inf),
        Risk(BATCH, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan),
        Risk(LLM, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    loads=(Load(CHAT, "gold", 1.25, 0.5), Load(BATCH, "", 0.5, math.nan)),
    amplification=(RetryAmplification(CHAT, BATCH, 1.5),),
    imbalance=(Imbalance(CHAT, 2.0),),
    gpu_wait=(GpuWait(CHAT, BATCH, "gold", 0.25),),
)
PAIR = 'aggressor_name="batch",aggressor_namespace=""'
EDGE = 'client="chat",client_service_namespace="serving",server="batch",server_service_namespace=""'


def page(outlook: Forecast) -> list[str]:
    """The series of an outlook, as text."""

    class Families(Collector):
        def collect(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as prometheus_client declares it
            yield from forecast_families(outlook)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_only_known_values_have_series() -> None:
    """No NaN and no infinity; the time to a breach is 0 during one."""
    assert page(OUTLOOK) == [
        'foreshock_slo_breach_eta_seconds{quantile="0.2",service_name="chat",service_namespace="serving"} 30.0',
        'foreshock_slo_breach_eta_seconds{quantile="0.5",service_name="chat",service_namespace="serving"} 90.0',
        'foreshock_slo_breach_eta_seconds{quantile="0.2",service_name="llm",service_namespace="serving"} 0.0',
        'foreshock_slo_breach_eta_seconds{quantile="0.5",service_name="llm",service_namespace="serving"} 0.0',
        'foreshock_slo_breach_eta_seconds{quantile="0.8",service_name="llm",service_namespace="serving"} 0.0',
        'foreshock_slo_breached{service_name="chat",service_namespace="serving"} 0.0',
        'foreshock_slo_breached{service_name="llm",service_namespace="serving"} 1.0',
        'foreshock_slo_breach_probability{service_name="chat",service_namespace="serving"} 0.75',
        'foreshock_slo_breach_probability{service_name="llm",service_namespace="serving"} 1.0',
        "foreshock_gpu_wait_ratio{" + PAIR + ',pool="gold",service_name="chat",service_namespace="serving"} 0.25',
        "foreshock_retry_amplification_ratio{" + EDGE + "} 1.5",
        'foreshock_service_load_ratio{pool="gold",service_name="chat",service_namespace="serving"} 1.25',
        'foreshock_service_load_ratio{pool="",service_name="batch",service_namespace=""} 0.5',
        'foreshock_service_safe_load_ratio{pool="gold",service_name="chat",service_namespace="serving"} 0.5',
        'foreshock_service_load_imbalance_ratio{service_name="chat",service_namespace="serving"} 2.0',
    ]


def test_an_empty_forecast_has_no_series() -> None:
    """Absent is never zero."""
    assert page(Forecast()) == []
