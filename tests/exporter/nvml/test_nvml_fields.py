"""Counters from nvmlDeviceGetFieldValues."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import CONSTANTS, FakeNvml

from foreshock_exporter.model.device import Counters, DeviceError, LinkBytes
from foreshock_exporter.nvml import Library, NvmlDriver

ALL = 0xFFFFFFFF
HOPPER: dict[tuple[int, int], Any] = {
    (91, 0): (1, 2), (83, 0): (3, 5_000_500), (74, 0): (3, 2_500_000_000), (75, 0): (3, 0), (76, 0): (3, 1_000_000_000),
    (270, 0): (3, 500_000_000), (197, 0): (1, 4_000), (198, 0): (1, 5_000), (138, ALL): (3, 3), (139, ALL): (3, 4),
    (138, 0): (3, 1), (138, 1): (3, 2), (139, 0): (3, 4), (139, 1): (3, 0),
}  # fmt: skip


def counters(driver: Open, fields: dict[tuple[int, int], Any], **parts: Any) -> Counters:  # noqa: ANN401 - as driver
    return driver(field_values=fields, **parts)[0].counters(0)


def test_counters_are_in_base_units_with_their_wrap_values(driver: Open) -> None:
    assert counters(driver, HOPPER) == Counters(
        energy_joules=5000.5,
        throttled_seconds={"power": 2.5, "thermal": 0.0, "sync_boost": 1.0, "hw_thermal": 0.5},
        pcie_transmit_bytes=4000.0, pcie_receive_bytes=5000.0,
        nvlink_transmit_bytes=3072.0, nvlink_receive_bytes=4096.0,
        wraps={
            "energy_joules": 2.0**64 / 1e3, "throttled_seconds": 2.0**64 / 1e9, "pcie_transmit_bytes": 2.0**32,
            "pcie_receive_bytes": 2.0**32, "nvlink_transmit_bytes": 2.0**74, "nvlink_receive_bytes": 2.0**74,
        },
        absent={"throttled_seconds/power_brake": "not_supported"},
    )  # fmt: skip


def test_a_version_of_the_driver_that_is_unknown_once_costs_no_field_later(driver: Open) -> None:
    adapter, fake = driver({"nvmlSystemGetDriverVersion": "UNKNOWN"}, field_values=dict(HOPPER))
    with pytest.raises(DeviceError):
        adapter.counters(0)
    fake.errors.clear()
    assert adapter.counters(0).throttled_seconds["hw_thermal"] == 0.5


def test_counters_take_one_call_without_unsupported_fields(driver: Open) -> None:
    adapter, fake = driver(field_values=dict(HOPPER))
    first, second = adapter.counters(0), adapter.counters(0)
    assert first == second
    _links, requested, again = fake.requested_fields
    assert {(202, ALL), (202, 0), (77, 0)} <= set(requested)
    assert set(again) == {
        (83, 0), (74, 0), (75, 0), (76, 0), (270, 0), (197, 0), (198, 0), (138, ALL), (139, ALL),
    }  # fmt: skip


def test_counters_that_wrap_soon_are_read_without_the_others(driver: Open) -> None:
    adapter, fake = driver(field_values=dict(HOPPER))
    adapter.counters(0)
    found = adapter.counters(0, {"pcie_transmit_bytes", "pcie_receive_bytes"})
    assert fake.requested_fields[-1] == [(197, 0), (198, 0)]
    assert (found.pcie_transmit_bytes, found.pcie_receive_bytes) == (4000.0, 5000.0)
    assert (found.energy_joules, found.throttled_seconds, found.absent) == (None, {}, {})


def test_after_a_loss_all_fields_are_requested_again(driver: Open) -> None:
    """Another device may have its place."""
    adapter, fake = driver(field_values=dict(HOPPER))
    adapter.counters(0)
    fake.field_values[83, 0] = CONSTANTS["NVML_ERROR_GPU_IS_LOST"]
    with pytest.raises(DeviceError) as raised:
        adapter.counters(0)
    assert raised.value.reason == "lost"
    fake.field_values[83, 0] = (3, 1000)
    fake.field_values[77, 0] = (3, 1_000_000_000)
    assert adapter.counters(0).throttled_seconds["board_limit"] == 1.0


def test_per_link_counters_are_optional(driver: Open) -> None:
    values_read = counters(driver, HOPPER, per_link=True)
    assert values_read.nvlink_links == {0: LinkBytes(1024.0, 4096.0), 1: LinkBytes(2048.0, 0.0)}
    assert values_read.wraps["nvlink_links"] == 2.0**74


def test_nvlink_5_counts_bytes_over_all_links(driver: Open) -> None:
    values_read = counters(driver, {(91, 0): (1, 2), (202, ALL): (3, 10), (204, ALL): (3, 20)})
    assert (values_read.nvlink_transmit_bytes, values_read.nvlink_receive_bytes) == (10.0, 20.0)


def test_nvlink_5_is_summed_where_it_is_only_known_by_link(driver: Open) -> None:
    fields: dict[tuple[int, int], Any] = {(91, 0): (1, 2)}
    fields |= {(202, 0): (3, 1), (202, 1): (3, 2), (204, 0): (3, 4)}
    adapter, fake = driver(field_values=fields)
    values_read = adapter.counters(0)
    assert (values_read.nvlink_transmit_bytes, values_read.nvlink_receive_bytes) == (3.0, 4.0)
    assert "nvlink_transmit_bytes" not in values_read.wraps, "a sum wraps nowhere in particular"
    fake.field_values[202, 1] = CONSTANTS["NVML_ERROR_UNKNOWN"]
    values_read = adapter.counters(0)
    assert values_read.nvlink_transmit_bytes is None, "a part of the sum would look like a reset"
    assert values_read.absent["nvlink_transmit_bytes"] == "driver"


def test_the_field_of_another_generation_that_stays_0_does_not_hide_the_right_one(driver: Open) -> None:
    adapter, fake = driver(field_values={(91, 0): (1, 2), (138, ALL): (3, 0), (202, ALL): (3, 0)})
    assert adapter.counters(0).nvlink_transmit_bytes == 0.0
    fake.field_values[202, ALL] = (3, 7)
    assert [adapter.counters(0).nvlink_transmit_bytes for _ in range(2)] == [7.0, 7.0]
    assert (138, ALL) not in fake.requested_fields[-1]


def test_links_are_not_read_one_by_one_if_their_total_is_available(driver: Open) -> None:
    adapter, fake = driver(field_values={(91, 0): (1, 2), (202, ALL): (3, 0), (202, 0): (3, 0), (202, 1): (3, 0)})
    assert [adapter.counters(0).nvlink_transmit_bytes for _ in range(2)] == [0.0, 0.0]
    assert fake.requested_fields[-1] == [(202, ALL)]


@pytest.mark.parametrize("scope", [ALL, 0])
def test_a_gpu_without_nvlink_has_no_nvlink_bytes_even_if_the_driver_returns_0(scope: int, driver: Open) -> None:
    values_read = counters(driver, {(91, 0): (1, 0), (138, scope): (3, 0), (139, scope): (3, 0)})
    assert (values_read.nvlink_transmit_bytes, values_read.nvlink_receive_bytes) == (None, None)


def test_energy_comes_by_a_separate_call_from_older_drivers(driver: Open) -> None:
    assert counters(driver, {}).energy_joules == 1234.567
    assert counters(driver, {}, errors={"nvmlDeviceGetTotalEnergyConsumption": "NOT_SUPPORTED"}) == Counters()


def test_a_missing_counter_has_its_reason_unless_not_supported(driver: Open) -> None:
    values_read = counters(
        driver,
        {(197, 0): CONSTANTS["NVML_ERROR_NO_PERMISSION"], (198, 0): CONSTANTS["NVML_ERROR_INVALID_ARGUMENT"],
         (83, 0): (4, -1), (74, 0): CONSTANTS["NVML_ERROR_UNKNOWN"], (75, 0): (3, 0)},
        errors={"nvmlDeviceGetTotalEnergyConsumption": "NOT_SUPPORTED"},
    )  # fmt: skip
    assert (values_read.pcie_transmit_bytes, values_read.pcie_receive_bytes, values_read.energy_joules) == (
        None,
        None,
        None,
    )
    newer = ("throttled_seconds/hw_thermal", "throttled_seconds/power_brake")
    assert values_read.absent == {
        "pcie_transmit_bytes": "no_permission", "energy_joules": "driver", **dict.fromkeys(newer, "not_supported")
    }  # fmt: skip
    assert values_read.throttled_seconds == {"thermal": 0.0}


@pytest.mark.parametrize(
    ("code", "absent"),
    [("NOT_SUPPORTED", set()), ("UNKNOWN", {"pcie_transmit_bytes", "throttled_seconds", "nvlink_receive_bytes"})],
)
def test_energy_is_read_even_if_the_fields_call_fails(code: str, absent: set[str], driver: Open) -> None:
    values_read = counters(driver, {}, codes={"nvmlDeviceGetFieldValues": CONSTANTS[f"NVML_ERROR_{code}"]})
    assert values_read.pcie_transmit_bytes is None
    assert absent <= values_read.absent.keys()


def test_a_driver_without_field_values_has_only_the_energy(driver: Open) -> None:
    assert counters(driver, {}, missing={"nvmlDeviceGetFieldValues"}).energy_joules == 1234.567


def test_links_are_counted_one_by_one_without_the_link_count_field(driver: Open) -> None:
    adapter, _ = driver(nvmlDeviceGetNvLinkState=lambda _handle, link: 1 if link < 4 else _invalid())
    health = adapter.health(0)
    assert (health.nvlink_links, health.nvlink_links_up) == (4, 4)


def test_errors_of_nvlink_5_take_the_place_of_those_before(driver: Open) -> None:
    """Blocks that the physical layer sends again (295) are everyday there, and no errors."""
    fields = {(91, 0): (1, 2), (208, ALL): (3, 4), (295, ALL): (3, 5), (215, 0): (3, 1), (215, 1): (3, 1)}
    assert driver(field_values=fields)[0].health(0).nvlink_errors == {"crc": 4.0, "recovery": 2.0}


ANSWERS = st.one_of(
    st.sampled_from([CONSTANTS[f"NVML_ERROR_{name}"] for name in ("NOT_SUPPORTED", "UNKNOWN", "NO_DATA", "TIMEOUT")]),
    st.tuples(st.just(3), st.integers(0, 2**40)),
    st.tuples(st.just(4), st.integers(-5, 5)),
    st.tuples(st.just(0), st.floats(allow_infinity=False)),
)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(HOPPER)[1:]), ANSWERS), max_size=4))
def test_whatever_the_fields_answer_no_counter_is_negative_and_none_lacks_its_reason(
    rounds: list[dict[tuple[int, int], Any]],
) -> None:
    fake = FakeNvml()
    adapter = NvmlDriver(Library(fake), per_link=True)
    for fields in rounds:
        fake.field_values = {(91, 0): (1, 2), **fields}
        values_read = adapter.counters(0)
        values = (values_read.energy_joules, values_read.pcie_transmit_bytes, values_read.nvlink_transmit_bytes)
        assert all(value is None or value >= 0.0 for value in (*values, *values_read.throttled_seconds.values()))
        for name in values_read.absent:
            field, _, key = name.partition("/")
            value = getattr(values_read, field)
            assert not (value.get(key) if key else value), f"{name} is there and yet it is said why not"


def _invalid() -> int:
    fake = FakeNvml()
    fake.fail("nvmlDeviceGetNvLinkState", "INVALID_ARGUMENT")
    return int(fake.nvmlDeviceGetNvLinkState())
