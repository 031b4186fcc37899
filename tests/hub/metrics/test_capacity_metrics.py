"""The capacity forecast as Prometheus metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.web.forecasts import DAY, FORECAST, NOT_YET, RECENT, shortage, slow_burn
from tests.web.worlds import NOW

from foreshock_dashboard.hub.capacity_metrics import capacity_families
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service

Series = dict[tuple[str, ...], float]


def series(forecast: CapacityForecast, name: str, *labels: str, now: float = NOW) -> Series:
    """The values of a metric by these labels, of which one of several series wins."""
    found = next(family for family in capacity_families(forecast, now) if family.name == f"foreshock_forecast_{name}")
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in found.samples}


def test_load_is_exported_as_the_peak_within_each_horizon() -> None:
    """Over capacity, with its 90% quantile, beside its hourly safe limit."""
    of = series(FORECAST, "load_ratio", "service_name", "horizon", "quantile")
    assert of["vllm-8b", "24h", "0.5"] == pytest.approx(6.0 * 1.5 / 20)
    assert of["vllm-8b", "24h", "0.9"] == pytest.approx(1.1 * 6.0 * 1.5 / 20)
    assert {quantile for *_, quantile in of} == {"0.5", "0.9"}
    assert of["vllm-8b", "30m", "0.9"] < of["vllm-8b", "2h", "0.9"] < of["vllm-8b", "24h", "0.9"]
    assert series(FORECAST, "safe_load_ratio", "service_name", "pool")["vllm-8b", "chat"] == 0.75


def test_horizons_begin_now() -> None:
    """Not when the forecast was made, up to an hour ago: autoscalers act before a rise, which is at noon here."""
    rise = replace(FORECAST.loads[2], p50=np.where(np.arange(1008) < 12, 1.0, 10.0))
    forecast = replace(FORECAST, loads=(rise,))
    labels = ("vllm-8b", "30m", "0.5")
    early, late = (
        series(forecast, "load_ratio", "service_name", "horizon", "quantile", now=NOW + minutes * 60)[labels]
        for minutes in (0, 100)
    )
    assert (early, late) == pytest.approx((1.0 / 20, 10.0 / 20))


def test_one_kind_of_load_is_exported() -> None:
    """Tokens where their limit is known, also while requests come closer to theirs, so that no series jumps."""
    tokens = replace(FORECAST.loads[2], kind=LoadKind.TOKENS, p50=0.5 * FORECAST.loads[2].p50)
    ratios = series(replace(FORECAST, loads=(FORECAST.loads[2], tokens)), "load_ratio", "horizon", "quantile")
    assert ratios["7d", "0.5"] == pytest.approx(0.5 * 6.0 * 1.5 / 20)


def test_the_replicas_that_a_load_needs_do_not_depend_on_those_there_are() -> None:
    """An autoscaler that reads them cannot chase itself. Four replicas have a safe load of 15; KV cache has no part."""
    needed = series(FORECAST, "needed_replicas", "service_name", "horizon", "quantile")
    assert (needed["vllm-70b", "24h", "0.5"], needed["vllm-70b", "24h", "0.9"]) == (4.0, 5.0)
    night = series(FORECAST, "needed_replicas", "service_name", "horizon", "quantile", now=NOW + 43_200)
    assert (needed["vllm-8b", "24h", "0.5"], night["vllm-8b", "30m", "0.5"]) == (3.0, 2.0)
    assert {name for name, *_ in needed} == {"vllm-70b", "vllm-8b", "embedder"}
    twice = tuple(replace(load, replicas=8.0, ready=8.0, safe=30.0, capacity=40.0) for load in FORECAST.loads)
    assert series(replace(FORECAST, loads=twice), "needed_replicas", "service_name", "horizon", "quantile") == needed


def test_a_shortage_has_its_time_and_remedy() -> None:
    """A time beyond the forecast has no series, nor has a service without a shortage."""
    late = replace(FORECAST, shortages=(shortage(latest=math.inf),))
    at = NOW + DAY + 2400
    times = series(late, "shortage_timestamp_seconds", "service_name", "quantile")
    assert times == {("vllm-70b", "0.1"): at - 3000, ("vllm-70b", "0.5"): at}
    assert series(late, "shortage_replicas", "service_name", "pool") == {("vllm-70b", "chat"): 2.0}


def test_the_maximum_of_an_autoscaler_is_exported_where_it_is_what_to_raise() -> None:
    """Alerts name it in place of replicas to add."""
    limited = replace(FORECAST, shortages=(shortage(max_replicas=4.0, room=8.0),))
    assert series(limited, "shortage_max_replicas", "service_name", "pool") == {("vllm-70b", "chat"): 5.0}
    assert series(FORECAST, "shortage_max_replicas", "service_name") == {}


def test_a_certificate_of_several_clusters_names_its_cluster_once() -> None:
    """As a label of the namespace, from which the exposition makes `cluster`."""
    burn = slow_burn(SlowBurnKind.CERTIFICATE, name="eu//shop.example.com")
    cluster = CapacityForecast(computed_at=NOW, slow_burns=(burn,))
    times = series(cluster, "resource_full_timestamp_seconds", "service_namespace", "resource")
    assert [*times] == [("eu//", "shop.example.com")]


def test_a_recent_shortage_is_apart_from_forecast_ones() -> None:
    """It follows from no quantile."""
    recent = replace(FORECAST, shortages=(RECENT,))
    assert series(recent, "shortage_timestamp_seconds", "service_name") == {}
    assert series(recent, "recent_shortage_timestamp_seconds", "service_name") == {("vllm-70b",): RECENT.at}
    assert series(FORECAST, "recent_shortage_timestamp_seconds", "service_name") == {}


def test_a_resource_that_fills_up_has_its_time() -> None:
    """By kind, and host, GPU, or service."""
    times = series(FORECAST, "resource_full_timestamp_seconds", "kind", "resource", "quantile")
    assert times["host_memory", "host-3", "0.5"] == NOW + 2 * DAY + 4 * 3600


def test_without_a_forecast_there_are_no_series() -> None:
    """Absent is never zero."""
    assert not [sample for family in capacity_families(NOT_YET, NOW) for sample in family.samples]


def test_an_unknown_capacity_has_no_ratio() -> None:
    """The rest of the forecast has its series."""
    loads = tuple(replace(item, capacity=math.nan) for item in FORECAST.loads)
    unknown = replace(FORECAST, loads=loads)
    assert series(unknown, "load_ratio", "service_name") == {}
    assert series(unknown, "shortage_replicas", "service_name") == {("vllm-70b",): 2.0}


def test_a_service_without_ready_replicas_has_no_ratio() -> None:
    """Scaled to zero, it must not take the metrics of the others away."""
    none = replace(FORECAST.loads[0], capacity=0.0, safe=0.0, replicas=0.0, ready=0.0)
    found = replace(FORECAST, loads=(none, *FORECAST.loads[2:]), shortages=())
    for name in ("load_ratio", "safe_load_ratio", "needed_replicas"):
        names = {labels[0] for labels in series(found, name, "service_name")}
        assert ("vllm-8b" in names, "vllm-70b" in names) == (True, False)


def test_a_pool_of_several_clusters_says_its_cluster() -> None:
    """As namespaces do, from which the exposition makes the label `cluster`."""
    pool = replace(FORECAST.loads[-2], subject=FORECAST.loads[-2].subject._replace(pool="eu//chat"))
    cluster = CapacityForecast(computed_at=NOW, loads=(pool,))
    (namespace,) = series(cluster, "safe_load_ratio", "service_namespace")
    assert Service(namespace[0], "").cluster == "eu"
