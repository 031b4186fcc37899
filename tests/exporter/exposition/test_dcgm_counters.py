"""The counters of dcgm-exporter: names, labels, units, pods, and MIG instances; the documentation has its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.dcgm import ROWS, WINDOW_SECONDS, XID_ERRORS, DcgmCounters
from foreshock_exporter.gpu.snapshot import Snapshot
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Activity, Counters, DeviceError, Instance, Reading, Xid
from foreshock_exporter.model.family import Families, Sample

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "exporter.md"
DEFAULT_COUNTERS = [
    "DEV_SM_CLOCK",
    "DEV_MEM_CLOCK",
    "DEV_MEMORY_TEMP",
    "DEV_GPU_TEMP",
    "DEV_POWER_USAGE",
    "DEV_TOTAL_ENERGY_CONSUMPTION",
    "DEV_PCIE_REPLAY_COUNTER",
    "DEV_GPU_UTIL",
    "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL",
    "DEV_DEC_UTIL",
    "DEV_XID_ERRORS",
    "DEV_FB_FREE",
    "DEV_FB_USED",
    "DEV_FB_RESERVED",
    "DEV_NVLINK_BANDWIDTH_TOTAL",
    "DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DEV_CORRECTABLE_REMAPPED_ROWS",
    "DEV_ROW_REMAP_FAILURE",
    "PROF_GR_ENGINE_ACTIVE",
    "PROF_PIPE_TENSOR_ACTIVE",
    "PROF_DRAM_ACTIVE",
    "PROF_PCIE_TX_BYTES",
    "PROF_PCIE_RX_BYTES",
]
"""dcgm-exporter's etc/default-counters.csv at 4.8, but for `NOT_COUNTERS`."""
NOT_COUNTERS = {
    "DCGM_FI_DEV_VGPU_LICENSE_STATUS": (
        "0 or 1",
        "no counterpart: a property of virtual machines with NVIDIA vGPU, not of GPU hosts",
    ),
    "DCGM_FI_DRIVER_VERSION": ("label", "label `driver_version` of `gpu_info`"),
}
"""Its other lines, with unit and our counterpart."""

Values = dict[str, list[tuple[dict[str, str], float]]]
Made = Callable[..., "ScriptedHost"]


def values(families: Families) -> Values:
    """Labels, without the empty ones, and value of each sample by name without its prefix."""
    return {
        family.name.removeprefix("DCGM_FI_"): [
            ({name: text for name, text in zip(family.labels, sample.labels, strict=True) if text}, sample.value)
            for sample in samples
            if isinstance(sample, Sample)
        ]
        for family, samples in families
        if samples
    }


def run(host: ScriptedHost, seconds: int, each: Callable[[float], None] = lambda _: None) -> Values:
    """The counters after so many seconds with a pass in each; `each` sets the host before the pass at a time."""
    exporter = host.exporter()
    counters = DcgmCounters(exporter.snapshot)
    found: Families = []
    for second in range(seconds + 1):
        each(float(second))
        exporter.sample()
        found = counters()
        host.time += 1.0
    return values(found)


def alone(found: Values, name: str) -> float:
    ((_, value),) = found[name]
    return value


def test_every_default_counter_of_dcgm_exporter_has_a_row() -> None:
    names = [family.name for family in (*(row.family for row in ROWS), XID_ERRORS)]
    assert sorted(names) == sorted(f"DCGM_FI_{name}" for name in DEFAULT_COUNTERS)


def test_labels_are_those_of_dcgm_exporter(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    ((labels, value),) = run(scripted(gpu()), 1)["DEV_POWER_USAGE"]
    assert (labels, value) == (
        {
            "gpu": "0",
            "UUID": "GPU-0",
            "pci_bus_id": "0000:00:00.0",
            "device": "nvidia0",
            "modelName": "H100",
            "Hostname": "node-1",
            "hostname": "node-1",
            "DCGM_FI_DRIVER_VERSION": "590.1",
        },
        300.0,
    )


def test_units_are_those_of_dcgm_exporter(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(broken_utilization=DeviceError("not_supported", "no")))
    host.read = lambda gpu: Reading(  # type: ignore[method-assign]
        memory_busy_ratio=0.25, memory_used_bytes=3 * 2.0**30, clock_hertz={"sm": 1.98e9}
    )

    def grow(second: float) -> None:
        busy = 0.25 if second > 5.0 else 0.5
        host.gpus[0].counters = Counters(
            energy_joules=500.0 * second,
            pcie_transmit_bytes=1e6 * second,
            nvlink_transmit_bytes=1024e6 * second,
            nvlink_receive_bytes=2048e6 * second,
        )
        seconds = 5.0 * 0.5 + (second - 5.0) * busy if second > 5.0 else second * busy
        host.gpus[0].activity = Activity(tensor_seconds=seconds, engine_seconds={"nvenc": seconds})

    found = run(host, 25, grow)
    assert {name: alone(found, name) for name in found if name != "DEV_XID_ERRORS"} == {
        "DEV_SM_CLOCK": 1980.0,
        "DEV_TOTAL_ENERGY_CONSUMPTION": 12_500_000.0,
        "DEV_MEM_COPY_UTIL": 25.0,
        "DEV_ENC_UTIL": pytest.approx(25.0),
        "DEV_FB_USED": 3072.0,
        "DEV_NVLINK_BANDWIDTH_TOTAL": pytest.approx(3000.0),
        "PROF_PIPE_TENSOR_ACTIVE": pytest.approx(0.25),
        "PROF_PCIE_TX_BYTES": pytest.approx(1e6),
    }, "gauges are means of the last seconds"


def test_utilization_is_the_mean_of_the_window(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(utilization=0.2, samples=None, shares={1: 0.2}))

    def work(second: float) -> None:
        host.gpus[0].utilization = 1.0 if second > 15.0 else 0.2

    assert alone(run(host, 20, work), "DEV_GPU_UTIL") == pytest.approx(60.0, abs=0.1)
    assert alone(run(host, 30), "DEV_GPU_UTIL") == pytest.approx(100.0)


def test_what_the_gpu_does_not_report_is_absent(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    silent = gpu(utilization=None, broken_utilization=DeviceError("not_supported", "no"))
    host = scripted(silent, gpu(broken=DeviceError("lost", "gone")))
    assert set(run(host, 5)) == {"DEV_POWER_USAGE", "DEV_XID_ERRORS"}


def test_a_gauge_of_activity_restarts_after_the_gpu_was_lost(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu())

    def lose(second: float) -> None:
        host.gpus[0].broken = DeviceError("lost", "gone") if 5.0 < second < 40.0 else None
        host.gpus[0].counters = Counters(pcie_transmit_bytes=1e6 * second)

    assert "PROF_PCIE_TX_BYTES" not in run(host, 40, lose)
    host.time += 3 * WINDOW_SECONDS
    assert alone(run(host, 45, lose), "PROF_PCIE_TX_BYTES") == pytest.approx(1e6)


def test_the_last_xid_error_is_shown_with_its_name(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(), gpu())

    def fail(second: float) -> None:
        host.reported = [Xid("GPU-1", {1.0: 79, 2.0: 31}[second])] if second in (1.0, 2.0) else []

    found = [
        (labels["gpu"], labels["err_code"], labels["err_msg"], value)
        for labels, value in run(host, 3, fail)["DEV_XID_ERRORS"]
    ]
    assert found == [("0", "0", "No Error", 0.0), ("1", "31", "GPU memory page fault", 31.0)]


def test_xid_errors_that_are_not_collected_are_absent_not_zero(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu())
    exporter = Exporter(host, host.resolve, host_id="1", host_name="n", now=host.now, timer=lambda: 0.0, xid=False)
    exporter.sample()
    assert "DEV_XID_ERRORS" not in values(DcgmCounters(exporter.snapshot)())


def allocated(snapshot: Snapshot, *labels: Mapping[str, str]) -> Snapshot:
    """With allocations of the kubelet."""
    samples = [Sample(tuple(row.get(name, "") for name in metrics.ALLOCATION_INFO.labels), 1.0) for row in labels]
    return replace(snapshot, host={"pod_resources": [(metrics.ALLOCATION_INFO, samples)]})


def pod(name: str, **labels: str) -> dict[str, str]:
    return {"k8s_pod_name": name, "k8s_namespace_name": "ml", "k8s_container_name": "main", **labels}


def test_each_container_that_shares_a_gpu_has_its_series(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    exporter = scripted(gpu(), gpu(), gpu()).exporter()
    exporter.sample()
    shared = (pod(name, uuid="GPU-1", replica=replica) for name, replica in (("b", "0"), ("c", "1")))
    snapshot = allocated(exporter.snapshot(), pod("a", uuid="GPU-0"), *shared)
    found = values(DcgmCounters(lambda: snapshot)())["DEV_POWER_USAGE"]
    names = ("gpu", "namespace", "pod", "container", "vgpu")
    assert [tuple(labels.get(name) for name in names) for labels, _ in found] == [
        ("0", "ml", "a", "main", None),
        ("1", "ml", "b", "main", "0"),
        ("1", "ml", "c", "main", "1"),
        ("2", None, None, None, None),
    ]


def test_a_gpu_with_mig_is_reported_by_gpu_instance(scripted: Made, gpu: type[ScriptedGpu]) -> None:
    """Memory and activity are those of the instance; those of the GPU appear with each."""
    host = scripted(gpu(sharing="mig", utilization=None))
    instances = (
        Instance("MIG-a", 2, 0, "1c.3g.40gb", 2.0**30, 40 * 2.0**30),
        Instance("MIG-b", 2, 1, "1c.3g.40gb", 2.0**30, 40 * 2.0**30),
        Instance("MIG-c", 5, 0, "2g.20gb", None, None),
    )
    host.read = lambda gpu: Reading(power_watts=300.0, memory_used_bytes=9.0, instances=instances)  # type: ignore[method-assign]
    exporter = host.exporter()
    counters = DcgmCounters(lambda: allocated(exporter.snapshot(), pod("a", uuid="GPU-0", mig_uuid="MIG-b")))
    found: Families = []
    for second in range(3):
        host.gpus[0].activity = Activity(instances={2: Activity(dram_seconds=0.5 * second), 5: Activity()})
        exporter.sample()
        found = counters()
        host.time += 1.0
    shown = {
        name: [(labels["GPU_I_ID"], labels["GPU_I_PROFILE"], labels.get("pod"), value) for labels, value in rows]
        for name, rows in values(found).items()
        if name != "DEV_XID_ERRORS"
    }
    assert shown == {
        "DEV_POWER_USAGE": [("2", "3g.40gb", "a", 300.0), ("5", "2g.20gb", None, 300.0)],
        "DEV_FB_FREE": [("2", "3g.40gb", "a", 39.0 * 1024)],
        "DEV_FB_USED": [("2", "3g.40gb", "a", 1024.0)],
        "PROF_DRAM_ACTIVE": [("2", "3g.40gb", "a", 0.5)],
    }


def documented_table() -> str:
    """The mapping as the documentation has it."""
    rows = ["| dcgm-exporter | unit | foreshock-exporter |", "|---|---|---|"]
    rows += [f"| `{row.family.name}` | {row.unit or '–'} | `{row.ours}` |" for row in ROWS]
    xid = "`gpu_xid_last_timestamp_seconds`, `gpu_xid_errors_total`, `gpu_service_xid_errors_total`"
    rows.append(f"| `{XID_ERRORS.name}` | number of the last error | {xid} |")
    rows += [f"| `{name}` | {unit} | {ours} |" for name, (unit, ours) in NOT_COUNTERS.items()]
    return "\n".join(rows) + "\n"


def test_golden_documentation_of_every_counter_of_dcgm_exporter(request: pytest.FixtureRequest) -> None:
    """docs/reference/exporter.md has each counter with its unit and our metric; `make golden` writes it."""
    begin, end = "<!-- dcgm-table -->\n", "<!-- /dcgm-table -->"
    head, _, rest = DOCS.read_text().partition(begin)
    table, _, tail = rest.partition(end)
    if request.config.getoption("--golden"):
        DOCS.write_text(head + begin + documented_table() + end + tail)
        table = documented_table()
    assert table == documented_table()
    documented = [line.split("`")[1] for line in table.splitlines()[2:]]
    assert sorted(documented) == sorted([*(f"DCGM_FI_{name}" for name in DEFAULT_COUNTERS), *NOT_COUNTERS])
    assert len(documented) == 26, "as many lines as the file of 4.8 has"
