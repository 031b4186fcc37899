"""Seconds at the limit of a shared resource, and what services that share it lost at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.gpu.contention import ServiceKey, Totals, remove_services
from foreshock_exporter.gpu.limits import (
    RESOURCES,
    Resource,
    Use,
    add_interval,
    maxima,
    saturated_seconds,
    slowdown,
    unknown_reasons,
    used_amounts,
)
from foreshock_exporter.model.device import Activity, Counters, Health, Reading, Sharing

A, B = ServiceKey("", "a"), ServiceKey("", "b")
IDLE: Mapping[Resource, tuple[float, ...]] = {
    "dram": (0.0,), "pcie": (0.0, 0.0), "nvlink": (0.0, 0.0), "power": (0.0,),
}  # fmt: skip
MAXIMA: Mapping[Resource, float] = {"dram": 1.0, "pcie": 100.0, "nvlink": 1000.0, "power": 1.0}


@pytest.mark.parametrize(
    ("case", "resource", "used", "seconds"),
    [
        ("DRAM from 75% of its bandwidth", "dram", (1.5,), 2.0),
        ("less than that is room", "dram", (1.49,), 0.0),
        ("PCIe in the busier direction", "pcie", (10.0, 160.0), 2.0),
        ("both directions together are no limit", "pcie", (100.0, 100.0), 0.0),
        ("NVLink", "nvlink", (1600.0, 0.0), 2.0),
        ("the power limit as long as the driver measured", "power", (0.3,), 0.3),
        ("but not longer than the interval", "power", (2.7,), 2.0),
        ("a counter that restarts is no use", "power", (-5.0,), 0.0),
    ],
)
def test_a_resource_is_saturated_as_defined(
    case: str, resource: Resource, used: tuple[float, ...], seconds: float
) -> None:
    found = saturated_seconds(Use(10.0, IDLE), Use(12.0, {resource: used}), MAXIMA)
    assert found == {resource: seconds}, case


def test_a_resource_is_unknown_without_its_maximum_or_one_of_two_readings() -> None:
    full = {resource: tuple(9e9 for _ in amounts) for resource, amounts in IDLE.items()}
    assert saturated_seconds(Use(0.0, {}), Use(1.0, full), MAXIMA) == {}
    assert saturated_seconds(Use(0.0, IDLE), Use(1.0, {}), MAXIMA) == {}
    assert saturated_seconds(Use(0.0, IDLE), Use(1.0, full), {"dram": 1.0}) == {"dram": 1.0}


@pytest.mark.parametrize(
    ("case", "sharing", "services", "lost_speed", "expected"),
    [
        ("under time-slicing DRAM is lost to others while they run", "time-slicing", {A: 0.5, B: 1.5}, 0.25,
         {(A, "dram"): 1.5, (B, "dram"): 0.5, (A, "power"): 0.5, (B, "power"): 0.5}),
        ("under MPS all run at once", "mps", {A: 0.5, B: 1.5}, 1.0,
         {(A, "dram"): 2.0, (B, "dram"): 2.0, (A, "power"): 2.0, (B, "power"): 2.0}),
        ("MIG instances share power, not DRAM", "mig", {A: None, B: None}, 0.5, {(A, "power"): 1.0, (B, "power"): 1.0}),
        ("one alone loses nothing to others", "mps", {A: 2.0}, 1.0, {}),
        ("nor beside one that does not run, but its counters exist before they grow", "mps", {A: 2.0, B: 0.0}, 1.0,
         {(A, "dram"): 0.0, (B, "dram"): 0.0, (A, "power"): 0.0, (B, "power"): 0.0}),
    ],
)  # fmt: skip
def test_the_bound_of_a_service_follows_from_how_the_gpu_is_shared(
    case: str,
    sharing: Sharing,
    services: Mapping[ServiceKey, float | None],
    lost_speed: float,
    expected: Mapping[tuple[ServiceKey, str], float],
) -> None:
    known = {service: seconds for service, seconds in services.items() if seconds is not None}
    before = Use(0.0, {"dram": (0.0,), "power": (0.0,)}, 0.0, {}, lost_speed)
    after = Use(2.0, {"dram": (1.8,), "power": (2.0,)}, 2.0, known if len(known) == len(services) else None, 0.0)
    totals = add_interval(Totals(), before, after, MAXIMA, sharing, services)
    assert totals.resource_wait == {key: pytest.approx(seconds) for key, seconds in expected.items()}, case
    assert totals.saturated == ({"power": 2.0} if sharing == "mig" else {"dram": 2.0, "power": 2.0})


_amounts = st.fixed_dictionaries(
    {},
    optional={
        resource: st.tuples(*(st.floats(0, 2.0 * MAXIMA[resource]) for _ in IDLE[resource])) for resource in RESOURCES
    },
)
_intervals = st.lists(
    st.tuples(st.floats(0.1, 5.0), _amounts, st.none() | st.lists(st.floats(0, 1), max_size=3), st.floats(0, 1)),
    max_size=8,
)


@given(_intervals, st.sampled_from(["time-slicing", "mps", "mig", "unknown"]))
def test_no_bound_exceeds_the_time_at_the_limit_nor_that_the_time_that_passed(
    intervals: list[tuple[float, dict[Resource, tuple[float, ...]], list[float] | None, float]], sharing: Sharing
) -> None:
    totals, time, before = Totals(), 0.0, Use(0.0, IDLE)
    for seconds, amounts, shares, lost_speed in intervals:
        time += seconds
        busy = None if shares is None else {ServiceKey("", str(n)): share * time for n, share in enumerate(shares)}
        after = Use(time, amounts, time, busy, lost_speed)
        last, totals = totals, add_interval(totals, before, after, MAXIMA, sharing, [A, B] if busy is None else [*busy])
        assert all(totals.saturated[resource] >= seconds for resource, seconds in last.saturated.items())
        assert all(totals.resource_wait[key] >= seconds for key, seconds in last.resource_wait.items())
        before = after
    assert all(seconds <= time + 1e-9 for seconds in totals.saturated.values())
    for (_, resource), seconds in totals.resource_wait.items():
        assert seconds <= totals.saturated[resource] + 1e-9


def test_maxima_are_those_of_the_links_that_the_device_reports() -> None:
    assert maxima(None).keys() == {"dram", "power"}
    idle = Health(pcie_link_width=16, pcie_link_generation=1, pcie_link_generation_max=5)
    health = replace(idle, nvlink_bytes_per_second=4e11)
    found = maxima(health)
    assert found["pcie"] == pytest.approx(63.0e9, rel=0.001), "also while an idle link runs at a lower generation"
    assert found["nvlink"] == 4e11


def test_the_slowdown_is_that_of_the_clock_and_all_without_a_clock() -> None:
    health = Health(clock_max_hertz={"sm": 2e9})
    assert slowdown(Reading(clock_hertz={"sm": 1.5e9}), health) == 0.25
    assert slowdown(Reading(clock_hertz={"sm": 2.1e9}), health) == 0.0
    assert slowdown(Reading(), health) == slowdown(Reading(clock_hertz={"sm": 1e9}), None) == 1.0


def test_each_unknown_resource_has_its_reason() -> None:
    counters = Counters(pcie_transmit_bytes=1.0, pcie_receive_bytes=1.0, absent={"throttled_seconds": "no_permission"})
    activity = Activity(absent={"dram_seconds": "driver"})
    use = Use(0.0, used_amounts(activity, counters))
    assert unknown_reasons(use, {"dram": 1.0}, activity, counters, "time-slicing") == {
        "dram": "driver", "pcie": "link_unknown", "nvlink": "not_supported", "power": "no_permission",
    }  # fmt: skip
    assert unknown_reasons(use, {"dram": 1.0}, activity, counters, "mig")["dram"] == "mig"


def test_a_forgotten_service_ends_in_these_series_too() -> None:
    totals = Totals(resource_wait={(A, "dram"): 1.0, (B, "dram"): 2.0})
    assert remove_services(totals, [A]).resource_wait == {(B, "dram"): 2.0}
