"""AMD GPUs: each value, the file that it is from, and the faults of that file."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.drm.conftest import Bench
from tests.drm.double import ADDRESS, MI300X, KernelDouble, fdinfo, gpu_metrics

from foreshock_exporter.attribution.service_resolver import ProcResolver
from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.drm import attributes, clients
from foreshock_exporter.drm.attributes import reason_of
from foreshock_exporter.drm.clients import SCAN_INTERVAL_SECONDS
from foreshock_exporter.drm.driver import NODES_INTERVAL_SECONDS
from foreshock_exporter.drm.gpu_metrics import GpuMetrics, is_of_apu, parse_gpu_metrics
from foreshock_exporter.drm.shares import MAX_SPAN_SECONDS
from foreshock_exporter.gpu.contention import ServiceKey, Totals
from foreshock_exporter.gpu.monotonic import CounterStates, make_monotonic
from foreshock_exporter.gpu.tenants import Tenants
from foreshock_exporter.gpu.utilization import Accumulated, UtilizationSampler
from foreshock_exporter.model.device import DeviceError, GpuProcess, Identity, UtilizationSample

GB = 2.0**30
READING: Mapping[str, tuple[str, object]] = {
    "utilization_ratio": ("gpu_busy_percent", 0.95),
    "memory_busy_ratio": ("mem_busy_percent", 0.4),
    "memory_used_bytes": ("mem_info_vram_used", 48 * GB),
    "memory_total_bytes": ("mem_info_vram_total", 192 * GB),
    "memory_free_bytes": ("mem_info_vram_used", 144 * GB),
    "power_watts": ("hwmon/hwmon5/power1_average", 650.0),
    "power_limit_watts": ("hwmon/hwmon5/power1_cap", 750.0),
}
HEALTH: Mapping[str, tuple[str, object]] = {
    "pcie_replays": ("pcie_replay_count", 3.0),
    "pcie_link_width": ("current_link_width", 16),
    "pcie_link_width_max": ("max_link_width", 16),
    "pcie_link_generation": ("current_link_speed", 5),
    "pcie_link_generation_max": ("max_link_speed", 5),
}


@pytest.mark.parametrize("field", [*READING, *HEALTH])
def test_a_value_is_that_of_its_file_and_absent_with_a_reason_without_it(field: str, bench: Bench) -> None:
    """A missing file is not supported; an I/O error and text that is no number are failures of the driver."""
    (file, value), read = {**READING, **HEALTH}[field], bench.driver.read if field in READING else bench.driver.health
    path = bench.kernel.sysfs / "class/drm/card1/device" / file
    assert getattr(read(0), field) == pytest.approx(value)
    for fault, reason in (("garbage", "driver"), ("", "driver"), (None, "driver"), ("missing", None)):
        if fault == "missing":
            path.unlink()
        elif fault is None:
            bench.kernel.fail(path)
        else:
            bench.kernel.write(path, fault)
        part = read(0)
        assert getattr(part, field) is None, fault
        if not file.endswith("_speed") or fault is None:
            assert part.absent.get(field) == reason, fault


def test_temperatures_clocks_and_errors_have_keys(bench: Bench) -> None:
    reading, health = bench.driver.read(0), bench.driver.health(0)
    assert reading.temperature_celsius == pytest.approx({"gpu": 61.0, "junction": 72.0, "memory": 58.0})
    assert reading.clock_hertz == {"sm": 1.9e9, "memory": 1.3e9}
    assert health.clock_max_hertz == {"sm": 2.1e9, "memory": 1.3e9}
    assert health.ecc_errors == {"uncorrected": 3.0, "corrected": 25.0}
    assert health.ecc_location_errors == {
        ("dram", "uncorrected"): 1.0,
        ("dram", "corrected"): 20.0,
        ("sram", "uncorrected"): 2.0,
        ("sram", "corrected"): 5.0,
    }


@pytest.mark.parametrize("fault", ["Query currently inaccessible", "", "missing", "fails"])
def test_errors_are_absent_while_a_block_does_not_report_its_own(fault: str, bench: Bench) -> None:
    """A sum without it would fall, and then count the other blocks twice."""
    states: CounterStates = {}
    path = bench.kernel.sysfs / "class/drm/card1/device/ras/gfx_err_count"
    before = make_monotonic(states, bench.driver.health(0)).ecc_errors
    bench.kernel.write(path, fault)
    if fault == "fails":
        bench.kernel.fail(path)
    elif fault == "missing":
        path.unlink()
    during = make_monotonic(states, bench.driver.health(0))
    assert not during.ecc_errors
    assert not during.ecc_location_errors
    assert during.absent == {"ecc_errors": "driver", "ecc_location_errors": "driver"}
    bench.kernel.write(path, MI300X["ras/gfx_err_count"])
    assert make_monotonic(states, bench.driver.health(0)).ecc_errors == before


@pytest.mark.parametrize(
    ("port", "speed", "expected"),
    [
        ({"max_link_width": "8", "max_link_speed": "16 GT/s"}, "8 GT/s PCIe", (8, 8, 3, 4)),
        ({}, "8.0 GT/s PCIe", (8, 16, 3, 5)),
    ],
    ids=["a slot with 8 lanes", "a virtual machine"],
)
def test_the_link_of_a_card_with_a_switch_is_that_to_its_slot(
    port: Mapping[str, str], speed: str, expected: tuple[int, ...], kernel: KernelDouble
) -> None:
    """The maximum is what both ends support. The link from the switch to the GPU is always the fastest."""
    slot = kernel.sysfs / "devices/pci0000:00/0000:00:01.0"
    card = {"max_link_width": "16", "max_link_speed": "32.0 GT/s PCIe"}
    switch = {"vendor": "0x1002", "current_link_width": "8", "current_link_speed": speed, **card}
    for folder, attributes_of in (
        (slot, {"vendor": "0x1022", **port}),
        (slot / "0000:01:00.0", switch),
        (slot / "0000:01:00.0/0000:02:00.0", {"vendor": "0x1002"}),
    ):
        for name, text in attributes_of.items():
            kernel.write(folder / name, text)
    gpu = slot / "0000:01:00.0/0000:02:00.0/0000:03:00.0"
    gpu.mkdir()
    (kernel.sysfs / "class/drm/card1").mkdir(parents=True)
    (kernel.sysfs / "class/drm/card1/device").symlink_to(gpu)
    kernel.gpu({**MI300X, "current_link_width": "16"})
    bench = Bench(kernel)
    bench.driver.count()
    health = bench.driver.health(0)
    link = (health.pcie_link_width, health.pcie_link_width_max)
    assert (*link, health.pcie_link_generation, health.pcie_link_generation_max) == expected


def test_errors_of_links_are_none_of_a_memory(bench: Bench) -> None:
    before = bench.driver.health(0)
    for block in ("xgmi_wafl", "pcie_bif"):
        bench.kernel.write(bench.kernel.sysfs / f"class/drm/card1/device/ras/{block}_err_count", "ue: 9\nce: 9")
    assert bench.driver.health(0) == before


def test_a_gpu_without_a_sensor_at_the_edge_shows_the_junction_and_the_power_input(bench: Bench) -> None:
    """As the MI300X with newer firmware."""
    hwmon = bench.kernel.sysfs / "class/drm/card1/device/hwmon/hwmon5"
    (hwmon / "temp1_input").unlink()
    (hwmon / "power1_average").rename(hwmon / "power1_input")
    reading = bench.driver.read(0)
    assert reading.temperature_celsius["gpu"] == 72.0
    assert reading.power_watts == 650.0


def test_the_identity_is_that_of_rocm(bench: Bench) -> None:
    assert bench.driver.identity(0) == Identity(
        "0",
        "GPU-1f9de0957d137942",
        "AMD Instinct MI300X OAM",
        ADDRESS,
        "6.8.0-45-generic",
        "",
        "concurrent",
        vendor="AMD",
    )


@pytest.mark.parametrize(
    ("file", "content", "field", "expected"),
    [
        ("product_name", "", "model", "AMD aqua_vanjaram (74a1)"),
        ("product_name", "Radeon PRO W7900", "model", "AMD Radeon PRO W7900"),
        ("unique_id", "0", "uuid", "GPU-" + str(uuid.uuid5(uuid.NAMESPACE_OID, f"host-1/{ADDRESS}"))),
        ("current_compute_partition", "CPX", "sharing", "partitioned"),
    ],
)
def test_what_the_identity_lacks_is_replaced(file: str, content: str, field: str, expected: str, bench: Bench) -> None:
    """A GPU without an ID is identified by its slot in its host, which no other host shares."""
    bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device" / file, content)
    again = Bench(bench.kernel)
    again.driver.count()
    assert getattr(again.driver.identity(0), field) == expected


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, "not_supported"),
        (errno.EOPNOTSUPP, "not_supported"),
        (errno.EINVAL, "not_supported"),
        (errno.EACCES, "no_permission"),
        (errno.EPERM, "driver"),
        (errno.EIO, "driver"),
        (errno.EBUSY, "driver"),
        (errno.ENODEV, "lost"),
        (errno.ETIME, "timeout"),
    ],
)
def test_errors_of_the_kernel_have_a_reason(number: int, reason: str) -> None:
    """During a reset amdgpu answers EPERM, which would misname a lack of permission."""
    assert reason_of(OSError(number, "")) == reason


# --- metrics


@pytest.mark.parametrize("content", range(1, 9))
def test_energy_is_read_from_each_version_of_the_metrics(content: int) -> None:
    assert parse_gpu_metrics(gpu_metrics(content, energy=1 << 20)).energy_joules == 16.0
    assert parse_gpu_metrics(gpu_metrics(content)).energy_joules is None, "all ones"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        gpu_metrics(3, energy=1)[:60],
        gpu_metrics(3, revision=2, energy=1),
        gpu_metrics(6, size=400, energy=1),
        b"\x78\x00\x01\x09" + bytes(116),
    ],
    ids=["empty", "header cut", "cut", "APU", "reverted layout", "unknown version"],
)
def test_metrics_that_are_not_understood_have_no_value(raw: bytes) -> None:
    assert parse_gpu_metrics(raw) == GpuMetrics()


@given(st.binary(max_size=200))
def test_any_bytes_are_metrics_or_none(raw: bytes) -> None:
    parse_gpu_metrics(raw)
    is_of_apu(raw)


def counted(bench: Bench, *tables: bytes) -> Mapping[str, float]:
    """Throttled seconds after tables that follow each other in a second."""
    for table in tables:
        bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device/gpu_metrics", table)
        seconds = bench.driver.counters(0).throttled_seconds
        bench.clock.time += 1.0
    return {str(reason): value for reason, value in seconds.items()}


def test_throttled_time_is_the_share_of_cycles_that_the_firmware_counts(bench: Bench) -> None:
    """Thermal throttlers overlap: the largest counts."""
    zero = dict.fromkeys(("prochot", "ppt", "socket_thm", "vr_thm", "hbm_thm"), 0)
    first = gpu_metrics(7, energy=0, cycles=1000, **zero)
    second = gpu_metrics(7, energy=0, cycles=2000, **zero | {"ppt": 500, "socket_thm": 200, "hbm_thm": 250})
    assert counted(bench, first, second) == pytest.approx({"power": 0.5, "thermal": 0.25, "hw_thermal": 0.0})
    after_reset = gpu_metrics(7, energy=0, cycles=10, **zero)
    assert counted(bench, after_reset) == pytest.approx({"power": 0.5, "thermal": 0.25, "hw_thermal": 0.0})


def test_throttled_time_of_older_gpus_is_sampled(bench: Bench) -> None:
    """Bits of `indep_throttle_status`: PPT0 is 0, a temperature 36. A long gap counts for two seconds."""
    ppt, hot = gpu_metrics(3, bits=1), gpu_metrics(3, bits=1 << 36)
    assert counted(bench, ppt, ppt, hot) == {"power": 1.0, "thermal": 1.0}
    bench.clock.time += 600.0
    assert counted(bench, hot) == {"power": 1.0, "thermal": 3.0}


def test_without_metrics_energy_and_throttling_are_absent(bench: Bench) -> None:
    counters = bench.driver.counters(0)
    assert counters.energy_joules is None
    assert counters.throttled_seconds == {}


# --- processes


def shares(bench: Bench, seconds: float = 0.1) -> dict[int, float]:
    """Shares by PID after some time."""
    bench.clock.time += seconds
    bench.driver.utilization(0, 0)
    return {entry.pid: entry.sm_ratio for entry in bench.driver.process_utilization(0, 0)}


def test_busy_time_is_divided_among_processes_by_their_compute_units(bench: Bench) -> None:
    bench.kernel.compute(41, units=150)
    bench.kernel.compute(42, units=50)
    bench.kernel.compute(43, units=0)
    assert sorted(bench.driver.processes(0).listed) == [GpuProcess(pid, 4 * GB) for pid in (41, 42, 43)]
    assert shares(bench) == pytest.approx({41: 0.7125, 42: 0.2375})


def test_a_sample_between_two_kernels_is_divided_at_the_next(bench: Bench) -> None:
    """No waves at the moment of a sample says nothing about the time before it."""
    folder = bench.kernel.compute(41, units=0)
    bench.driver.processes(0)
    assert shares(bench) == {}
    bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device/gpu_busy_percent", "75")
    bench.kernel.write(folder / "stats_51234/cu_occupancy", "9")
    assert shares(bench) == pytest.approx({41: 0.85}), "the mean of both samples"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.1, [0.1]), (1.0, [1.0]), (5.0, [1.0, 2.0, 3.0, 4.0, 5.0]), (60.0, [60.0])]
)
def test_a_sample_stands_for_the_time_since_the_one_before(seconds: float, expected: list[float], bench: Bench) -> None:
    """At the longest sampling period as well, but not after a minute without an answer."""
    (first,) = bench.driver.utilization(0, 0)
    bench.clock.time += seconds
    later = bench.driver.utilization(0, first.timestamp_us)
    assert [(sample.timestamp_us - first.timestamp_us) / 1e6 for sample in later] == pytest.approx(expected)
    assert {sample.ratio for sample in later} == {0.95}


def test_a_process_that_ends_while_it_is_read_is_left_out(bench: Bench) -> None:
    gone = bench.kernel.compute(41, units=10)
    bench.kernel.compute(42, units=10)
    bench.driver.processes(0)
    for file in sorted(gone.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    gone.rmdir()
    assert shares(bench) == pytest.approx({42: 0.95})
    assert [entry.pid for entry in bench.driver.processes(0).listed] == [42]


def test_a_gpu_that_reports_no_compute_units_has_shares_only_of_a_single_process(bench: Bench) -> None:
    """As Radeon: amdkfd has no `cu_occupancy`. A process without a queue runs nothing."""
    bench.kernel.compute(41, units=None)
    bench.kernel.compute(42, units=None, queues=0)
    bench.driver.processes(0)
    assert shares(bench) == pytest.approx({41: 0.95})
    bench.kernel.compute(43, units=None)
    bench.driver.processes(0)
    with pytest.raises(DeviceError) as failed:
        shares(bench)
    assert failed.value.reason == "not_supported"


def test_the_rest_is_not_of_rocm_if_graphics_may_be_unseen(bench: Bench) -> None:
    """On Radeon, an idle process with a queue would get the time of another user's game. Its memory is known."""
    bench.kernel.compute(41, units=None)
    bench.driver.processes(0)
    (bench.kernel.procfs / "1/cmdline").unlink()
    (bench.kernel.procfs / "1").rmdir()
    bench.clock.time += SCAN_INTERVAL_SECONDS
    with pytest.raises(DeviceError, match="CAP_SYS_PTRACE") as failed:
        shares(bench)
    assert failed.value.reason == "no_permission"
    assert list(bench.driver.processes(0).listed) == [GpuProcess(41, 4 * GB)]


def passes(bench: Bench, number: int, change: Callable[[int], object] = lambda at: None) -> Totals:
    """Seconds counted by a number of passes at 10 Hz, with a change of the host before each."""
    accumulated = Accumulated()
    resolver = ProcResolver(bench.kernel.procfs, bench.kernel.root)
    sampler = UtilizationSampler(0, bench.driver, accumulated, Tenants(resolver), ProblemLog())
    ratio = None
    for at in range(number):
        change(at)
        if at % 10 == 0:
            bench.driver.identity(0)
            ratio = bench.driver.read(0).utilization_ratio
            bench.driver.processes(0)
        sampler.set_sharing("concurrent", bench.clock.time)
        sampler.sample(bench.clock.time, ratio, at % 10 == 0)
        bench.clock.time += 0.1
    return accumulated.totals


def test_bursts_of_graphics_count_once(bench: Bench) -> None:
    """10 ms of work in each half second. Samples without work wait for the next share, which is that of all of them."""
    bench.kernel.process(50, "render")
    bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device/gpu_busy_percent", "2")

    def work(at: int) -> None:
        bench.kernel.client(50, "5", fdinfo(f"drm-engine-gfx:\t{(1 + at // 5) * 10_000_000} ns"))

    totals = passes(bench, 200, work)
    assert totals.service_busy == pytest.approx({ServiceKey("", "render"): 0.4}, rel=0.15)
    assert totals.busy == pytest.approx(0.4, rel=0.15)


@pytest.mark.parametrize(("failing", "unattributed"), [(1, 0.2), (5, 0.2), (75, 1.2)])
def test_a_load_that_cannot_be_read_for_a_moment_costs_no_attribution(
    failing: int, unattributed: float, bench: Bench
) -> None:
    """As in a reset. After more than six seconds, readings count until samples are tried again."""
    bench.kernel.process(41, "train")
    bench.kernel.compute(41, units=10)
    path = bench.kernel.sysfs / "class/drm/card1/device/gpu_busy_percent"

    def fault(at: int) -> None:
        if at == 20:
            bench.kernel.fail(path)
        elif at == 20 + failing:
            bench.kernel.write(path, "95")

    totals = passes(bench, 200, fault)
    assert totals.unattributed <= unattributed
    missing = 0.0 if failing / 10 < MAX_SPAN_SECONDS else failing / 10 + 1.0
    assert totals.service_busy[ServiceKey("", "train")] >= 0.95 * (19.5 - missing) - 0.2


def test_a_work_counter_that_falls_for_a_moment_counts_once(bench: Bench) -> None:
    """drm-usage-stats.rst: the larger previous value holds."""
    bench.kernel.process(50, "render")
    busy = []
    for milliseconds in (1000, 1020, 1010, 1030):
        bench.kernel.client(50, "5", fdinfo(f"drm-engine-gfx:\t{milliseconds}000000 ns"))
        busy.append(shares(bench, 1.0).get(50, 0.0))
    assert busy == pytest.approx([0.0, 0.02, 0.0, 0.005]), "10 ms in the two seconds since the last share"


def file_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last three parts of the paths that are read of clients from now on."""
    reads: list[str] = []

    def read_text(path: str) -> str:
        reads.append("/".join(path.rsplit("/", 3)[1:]))
        return attributes.read_text(path)

    monkeypatch.setattr(clients, "read_text", read_text)
    return reads


def test_files_of_rocm_are_read_every_ten_seconds_and_idle_ones_every_second(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of ROCm opens those of all GPUs, and submits nothing by them."""
    bench.kernel.process(41, "train")
    bench.kernel.process(50, "render")
    bench.kernel.compute(41, units=10)
    bench.kernel.client(41, "5", fdinfo("drm-memory-vram:\t9 KiB"))
    bench.kernel.client(50, "6", fdinfo("drm-memory-vram:\t9 KiB", client=8))
    bench.kernel.client(50, "7", fdinfo("drm-engine-gfx:\t9 ns", client=9))
    reads = file_reads(monkeypatch)
    passes(bench, 95)
    assert [reads.count(name) for name in ("41/fdinfo/5", "50/fdinfo/6")] == [1, pytest.approx(10, abs=1)]
    assert reads.count("50/fdinfo/7") >= 95


def test_graphics_clients_have_the_time_that_the_kernel_counts(bench: Bench) -> None:
    """The rest of the busy time is that of ROCm. Two files of one client count once."""
    bench.kernel.process(50, "render")
    bench.kernel.compute(41, units=10)
    for descriptor in ("5", "6"):
        bench.kernel.client(50, descriptor, fdinfo("drm-engine-gfx:\t1000000000 ns", "drm-memory-vram:\t2048 KiB"))
    assert sorted(bench.driver.processes(0).listed) == [GpuProcess(41, 4 * GB), GpuProcess(50, 2.0**21)]
    shares(bench)
    for descriptor in ("5", "6"):
        bench.kernel.client(50, descriptor, fdinfo("drm-engine-gfx:\t1020000000 ns", "drm-memory-vram:\t2048 KiB"))
    assert shares(bench) == pytest.approx({50: 0.2, 41: 0.75})


def test_a_process_of_rocm_has_the_memory_that_amdkfd_counts(bench: Bench) -> None:
    """Its DRM file shows the same memory again."""
    bench.kernel.process(41, "train")
    bench.kernel.compute(41, units=10)
    bench.kernel.client(41, "5", fdinfo("drm-memory-vram:\t9999999 KiB"))
    assert list(bench.driver.processes(0).listed) == [GpuProcess(41, 4 * GB)]


def test_each_partition_counts_for_the_whole_gpu(bench: Bench) -> None:
    bench.kernel.node(gpu_id="51235", address="0000:c1:00.1")
    bench.kernel.compute(41, units=30)
    bench.kernel.compute(42, units=10, gpu_id="51235")
    bench.clock.time += NODES_INTERVAL_SECONDS
    bench.driver.identity(0)
    bench.driver.processes(0)
    assert shares(bench) == pytest.approx({41: 0.7125, 42: 0.2375})


def test_without_access_to_the_device_file_no_process_is_known(kernel: KernelDouble) -> None:
    """amdkfd refuses to show a GPU that the control group of a container may not use. No service is not idle."""
    kernel.gpu(MI300X)
    kernel.node()
    kernel.compute(41, units=10)
    kernel.fail(kernel.sysfs / "class/kfd/kfd/topology/nodes/51234/properties")
    bench = Bench(kernel)
    bench.driver.count()
    bench.driver.identity(0)
    for call in (bench.driver.processes, lambda gpu: bench.driver.process_utilization(gpu, 0)):
        with pytest.raises(DeviceError, match="/dev/dri") as failed:
            call(0)
        assert failed.value.reason == "no_permission"


# --- the driver


def test_a_gpu_that_is_unplugged_is_lost_until_it_returns(bench: Bench) -> None:
    """It keeps its index and UUID, also as another card."""
    bench.kernel.unplug()
    assert bench.driver.count() == 1
    for call in (bench.driver.identity, bench.driver.read, bench.driver.counters, bench.driver.health):
        with pytest.raises(DeviceError) as failed:
            call(0)
        assert failed.value.reason == "lost"
    bench.kernel.gpu(MI300X, card="card7")
    assert bench.driver.count() == 1
    assert bench.driver.identity(0).uuid == "GPU-1f9de0957d137942"
    assert bench.driver.read(0).power_watts == 650.0
    bench.kernel.unplug("card7")
    with pytest.raises(DeviceError):
        bench.driver.read(0)
    bench.kernel.gpu({**MI300X, "unique_id": "2f9de0957d137942"})
    bench.driver.count()
    assert bench.driver.identity(0).uuid == "GPU-2f9de0957d137942", "another one in its slot"


def test_a_gpu_that_is_plugged_in_is_found(bench: Bench) -> None:
    bench.kernel.gpu({**MI300X, "unique_id": "2f9de0957d137942"}, "0000:05:00.0", card="card2")
    assert bench.driver.count() == 2
    assert bench.driver.identity(0).pci_bus_id == ADDRESS
    assert bench.driver.identity(1).pci_bus_id == "0000:05:00.0"


def test_a_suspended_gpu_is_idle_and_stays_suspended(bench: Bench) -> None:
    """amdgpu would switch it on to answer; the file of its load is a trap."""
    folder = bench.kernel.gpu({"power/runtime_status": "suspended"})
    bench.kernel.fail(folder / "gpu_busy_percent")
    bench.driver.identity(0)
    assert bench.driver.utilization(0, 0) == (UtilizationSample(round(bench.clock.time * 1e6), 0.0),)
    assert bench.driver.read(0).utilization_ratio == 0.0
    assert bench.driver.read(0).absent["power_watts"] == "suspended"
    assert bench.driver.counters(0).absent["energy_joules"] == "suspended"
    assert bench.driver.health(0).absent["ecc_errors"] == "suspended"


@pytest.mark.parametrize("state", ["suspended", "active"])
def test_clients_of_a_suspended_gpu_and_of_one_without_metrics_are_not_read(
    state: str, kernel: KernelDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xe resumes a GPU to answer. The graphics of a CPU (card2) have no metrics."""
    kernel.gpu({"power/runtime_status": state}, "0000:03:00.0", driver="xe")
    kernel.gpu({}, "0000:00:02.0", driver="i915", card="card2")
    kernel.process(60, "chat")
    kernel.client(
        60, "4", fdinfo("drm-cycles-ccs:\t9", "drm-total-cycles-ccs:\t9", driver="xe", address="0000:03:00.0")
    )
    kernel.client(60, "5", fdinfo(driver="i915", address="0000:00:02.0"), device="/dev/dri/renderD129")
    reads, bench = file_reads(monkeypatch), Bench(kernel)
    bench.driver.count()
    bench.driver.identity(0)
    bench.driver.process_utilization(0, 0)
    if state == "suspended":
        with pytest.raises(DeviceError) as failed:
            bench.driver.processes(0)
        assert failed.value.reason == "suspended"
    assert [path for path in reads if "fdinfo" in path] == ([] if state == "suspended" else ["60/fdinfo/4"])


def test_a_suspended_card_is_no_part_of_a_cpu_and_its_metrics_are_not_read(kernel: KernelDouble) -> None:
    """Older kernels would resume it. The file is a trap."""
    kernel.gpu({"power/runtime_status": "suspended", "gpu_metrics": gpu_metrics(3, revision=2)})
    assert Bench(kernel).driver.count() == 1


@pytest.mark.parametrize(
    ("mode", "revision", "expected"), [("auto", 1, 1), ("auto", 2, 0), ("auto", 3, 0), ("on", 2, 1), ("off", 1, 0)]
)
def test_gpus_that_are_part_of_a_cpu_count_if_the_option_says_so(
    mode: str, revision: int, expected: int, kernel: KernelDouble
) -> None:
    kernel.gpu({**MI300X, "gpu_metrics": gpu_metrics(3, revision=revision)})
    assert Bench(kernel, modes={"AMD": mode}).driver.count() == expected


@pytest.mark.parametrize("driver", ["nvidia", "nouveau", "ast", "vfio-pci", ""])
def test_cards_of_other_drivers_are_no_gpus_of_this_driver(driver: str, kernel: KernelDouble) -> None:
    kernel.gpu(MI300X, driver=driver)
    assert Bench(kernel).driver.count() == 0


@pytest.mark.parametrize("content", [4, 5, 6, 7, 8])
def test_bytes_over_xgmi_are_summed_over_the_links(content: int, bench: Bench) -> None:
    """Links that a card lacks have fields of ones. The state of links is in the newer versions."""
    fields = {"xgmi_width": 16, "xgmi_speed": 32, "xgmi_read_0": 5, "xgmi_read_1": 6, "xgmi_write_0": 7}
    if content >= 7:
        fields |= {"xgmi_status_0": 1, "xgmi_status_1": 0}
    bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device/gpu_metrics", gpu_metrics(content, **fields))
    counters, health = bench.driver.counters(0), bench.driver.health(0)
    assert (counters.xgmi_receive_bytes, counters.xgmi_transmit_bytes) == (11_000.0, 7_000.0)
    assert health.xgmi_link_bytes_per_second == 64e9
    assert health.xgmi_links_up == (1 if content >= 7 else None)


@pytest.mark.parametrize("table", [gpu_metrics(7, xgmi_width=0, xgmi_read_0=0), gpu_metrics(7), gpu_metrics(3), b""])
def test_a_card_without_xgmi_has_no_bytes_over_it(table: bytes, bench: Bench) -> None:
    bench.kernel.write(bench.kernel.sysfs / "class/drm/card1/device/gpu_metrics", table)
    counters, health = bench.driver.counters(0), bench.driver.health(0)
    assert counters.xgmi_receive_bytes is counters.xgmi_transmit_bytes is None
    assert health.xgmi_links_up is health.xgmi_link_bytes_per_second is None
