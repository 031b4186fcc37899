"""What drivers say of features that a GPU lacks, or of links that are down, over a fake pynvml."""

from __future__ import annotations

from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import CONSTANTS

from foreshock_exporter.model.device import DeviceError

NO_ERRORS = 0xFFF
"""15e-255, which the driver answers for a link without errors."""
TWO_LINKS: dict[tuple[int, int], Any] = {(91, 0): (1, 2), (220, 0): (3, NO_ERRORS), (220, 1): (3, 2 << 8 | 12)}


def test_a_link_that_was_down_counts_again_for_the_bit_error_ratio(driver: Open) -> None:
    adapter, fake = driver(field_values=dict(TWO_LINKS))
    assert adapter.health(0).nvlink_bit_error_ratio == {"effective": pytest.approx(2e-12, rel=1e-6, abs=0.0)}
    fake.field_values[220, 1] = CONSTANTS["NVML_ERROR_NOT_SUPPORTED"]
    assert adapter.health(0).nvlink_bit_error_ratio == {"effective": pytest.approx(15e-255, rel=1e-6, abs=0.0)}
    fake.field_values[220, 1] = (3, 3 << 8 | 9)
    assert adapter.health(0).nvlink_bit_error_ratio == {"effective": pytest.approx(3e-9, rel=1e-6, abs=0.0)}


def test_the_bit_error_ratio_is_unknown_if_that_of_one_link_is(driver: Open) -> None:
    """It may be that of the worst one."""
    health = driver(field_values=TWO_LINKS | {(220, 1): CONSTANTS["NVML_ERROR_UNKNOWN"]})[0].health(0)
    assert health.nvlink_bit_error_ratio == {}
    assert health.absent["nvlink_bit_error_ratio"] == "driver"


def test_a_gpu_without_links_to_a_cpu_or_a_module_has_no_zeros_of_them(driver: Open) -> None:
    fields: dict[tuple[int, int], Any] = {(170, 0): (1, 0), (171, 0): (1, 0), (172, 0): (1, 0), (231, 0): (3, 0)}
    adapter, _ = driver(field_values=fields | {(186, 1): (1, 0), (190, 1): (1, 0)})
    health, reading = adapter.health(0), adapter.read(0)
    assert (health.c2c_links, health.c2c_links_up, health.c2c_bytes_per_second) == (None, None, None)
    assert health.c2c_errors == {}
    assert (reading.module_power_watts, reading.module_power_limit_watts) == (None, None)


@pytest.mark.parametrize(
    ("serial", "place"),
    [
        (b"1821124240070", ("1821124240070", "26", "12", "1", "3")),
        (b"", ("", "", "", "1", "3")),
        (b" \0garbage", ("", "", "", "1", "3")),
    ],
)
def test_a_gpu_outside_a_rack_is_in_no_slot(serial: bytes, place: tuple[str, ...], driver: Open) -> None:
    """A server such as a DGX answers without a serial number of a chassis, and its slot of 0 is none."""

    def answer(_handle: object, info: Any) -> int:  # noqa: ANN401 - a reference to pynvml's structure
        in_rack = bool(place[0])
        info._obj.chassisSerialNumber = serial
        info._obj.slotNumber, info._obj.trayIndex = (b"\x1a", b"\x0c") if in_rack else (b"\0", b"\0")
        info._obj.hostId, info._obj.moduleId = b"\x01", b"\x03"
        return 0

    adapter, _ = driver(c_nvmlPlatformInfo_v2_t=pynvml.c_nvmlPlatformInfo_v2_t, nvmlDeviceGetPlatformInfo=answer)
    assert adapter.health(0).platform == {place: 1.0}


def test_a_version_of_the_driver_that_is_unknown_once_costs_no_feature_later(driver: Open) -> None:
    adapter, fake = driver({"nvmlSystemGetDriverVersion": "UNKNOWN"}, field_values={(251, 0): (1, 1)})
    with pytest.raises(DeviceError):
        adapter.health(0)
    fake.errors.clear()
    assert adapter.health(0).power_smoothing_enabled is True
    calls = fake.times("nvmlSystemGetDriverVersion")
    adapter.health(0)
    assert fake.times("nvmlSystemGetDriverVersion") == calls, "it is read once"
