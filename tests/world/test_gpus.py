"""GPUs from foreshock-exporter, or from dcgm-exporter where there is only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import world_scraped

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, Tenant
from foreshock_dashboard.model.world_sections import XidCounter
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.collector import GpuOptions
from foreshock_exporter.options import parse
from foreshock_exporter.script.mock import open_script

OURS, DCGM = ("foreshock-exporter", "host-1:10877"), ("dcgm", "10.0.0.9:9400")
MIB = 2.0**20


def exporter(t: float) -> str:
    """One GPU, throttled a quarter of the time by heat and all of it by its power limit, with an error each 100 s."""
    return f"""
gpu_info{{gpu="0",uuid="a",model="H100"}} 1
gpu_busy_seconds_total{{gpu="0",uuid="a"}} {0.5 * t}
gpu_clock_hertz{{gpu="0",uuid="a",clock="sm"}} 1.2e9
gpu_clock_hertz{{gpu="0",uuid="a",clock="memory"}} 9e9
gpu_clock_max_hertz{{gpu="0",uuid="a",clock="sm"}} 1.6e9
gpu_throttled_seconds_total{{gpu="0",uuid="a",reason="power"}} {t}
gpu_throttled_seconds_total{{gpu="0",uuid="a",reason="thermal"}} {0.25 * t}
gpu_xid_errors_total{{gpu="0",uuid="a",xid="79"}} {0.01 * t}
gpu_xid_errors_total{{gpu="0",uuid="a",xid="31"}} {5 * t}
gpu_ecc_errors_total{{gpu="0",uuid="a",error_type="uncorrected"}} {0.02 * t}
gpu_ecc_errors_total{{gpu="0",uuid="a",error_type="corrected"}} {7 * t}
gpu_lost{{gpu="0",uuid="a",pci_bus_id="0"}} 0
gpu_pool_info{{uuid="a",pool="chat"}} 1
service_tier_info{{service_name="llm",service_namespace="serving",tier="gold"}} 1
gpu_service_busy_seconds_total{{gpu="0",uuid="a",service_name="llm",service_namespace="serving"}} {0.4 * t}
gpu_service_busy_seconds_total{{gpu="0",uuid="a",service_name="batch",service_namespace="ml"}} {0.1 * t}
"""


def dcgm(t: float) -> str:
    """Page of dcgm-exporter: two GPUs, the first assigned to a pod."""
    of = (
        'gpu="{0}",UUID="GPU-{0}",device="nvidia{0}",modelName="NVIDIA L4",Hostname="host-9",DCGM_FI_DRIVER_VERSION="1"'
    )
    first = of.format(0) + ',container="main",namespace="serving",pod="llm-7d9c5b8f6d-x2x4z"'
    second = of.format(1)
    return "\n".join(
        f"DCGM_FI_{field}{{{labels}}} {value}"
        for field, values in {
            "DEV_GPU_UTIL": (80, 20),
            "DEV_FB_USED": (1000, 500),
            "DEV_FB_FREE": (3000, 3500),
            "DEV_POWER_USAGE": (70.5, 30),
            "DEV_GPU_TEMP": (60, 40),
            "DEV_SM_CLOCK": (1500, 1000),
            "DEV_MAX_SM_CLOCK": (2000, 2000),
            "DEV_ECC_DBE_VOL_TOTAL": (0.1 * t, 0),
        }.items()
        for labels, value in zip((first, second), values, strict=True)
    )


def test_health_leaves_out_normal_throttling_and_errors(tmp_path: Path) -> None:
    """The power limit, corrected errors, and errors of applications are normal."""
    world = world_scraped(tmp_path, {OURS: exporter})

    assert world.hardware
    health = (world.hardware.clock, world.hardware.throttled, world.hardware.errors, world.hardware.lost)
    assert [rows[0, -1] for rows in health] == pytest.approx([0.75, 0.25, 0.03, 0])


def test_xid_errors_are_counted_by_gpu_and_by_service(tmp_path: Path) -> None:
    """From the first error on; those beyond the exporter's limit have no number."""

    def page(t: float) -> str:
        later = """
gpu_xid_errors_total{gpu="0",uuid="a",xid="48"} 2
gpu_xid_errors_total{gpu="0",uuid="a",xid="other"} 7
gpu_service_xid_errors_total{gpu="0",uuid="a",service_name="llm",service_namespace="serving",xid="31"} 1
"""
        return exporter(t) + (later if t >= 60 else "")

    world = world_scraped(tmp_path, {OURS: page})

    assert world.hardware
    counts = dict(zip(world.hardware.xids, world.hardware.xid_errors[:, 5:7].tolist(), strict=True))
    nan, gpu = pytest.approx(np.nan, nan_ok=True), "host-1:10877/gpu-0"
    assert counts[XidCounter(gpu, 31)] == pytest.approx([250, 300])
    assert counts[XidCounter(gpu, 31, Service("serving", "llm"))] == [nan, 1]
    assert counts[XidCounter(gpu, 48)] == [nan, 2]
    assert counts[XidCounter(gpu, 79)] == pytest.approx([0.5, 0.6])
    assert len(counts) == 4


def test_the_vendor_is_of_the_exporter_and_by_the_model_of_dcgm(tmp_path: Path) -> None:
    """Empty where neither says it."""

    def page(_: float) -> str:
        return """
gpu_info{gpu="0",uuid="a",model="Instinct MI300X",vendor="AMD"} 1
gpu_info{gpu="1",uuid="b",model="Radeon"} 1
"""

    own = world_scraped(tmp_path / "own", {OURS: page})
    other = world_scraped(tmp_path / "dcgm", {DCGM: dcgm})

    assert [(gpu.model, gpu.vendor) for gpu in own.gpus] == [("Instinct MI300X", "AMD"), ("Radeon", "")]
    assert {gpu.vendor for gpu in other.gpus} == {"NVIDIA"}


def test_pools_and_tiers_are_by_gpu_and_service(tmp_path: Path) -> None:
    """Empty where unknown."""
    world = world_scraped(tmp_path, {OURS: exporter})

    assert world.pool == ("chat",)
    assert dict(zip(world.services, world.tier, strict=True)) == {
        Service("serving", "llm"): "gold",
        Service("ml", "batch"): "",
    }


def test_a_gpu_without_a_process_names_the_pod_that_has_it(tmp_path: Path) -> None:
    """With the service of the pod's spans. Where a process of another service runs, it may be the pod's."""

    def given(gpu: str, pod: str, container: str = "main", namespace: str = "ml") -> str:
        return (
            f'gpu_allocation_info{{gpu="{gpu}",uuid="{gpu}",resource="nvidia.com/gpu",k8s_namespace_name="{namespace}",'
            f'k8s_pod_name="{pod}",k8s_container_name="{container}",k8s_workload_name="x"}} 1'
        )

    def page(t: float) -> str:
        busy = {"a": ("ml", "chat"), "b": ("team", "other"), "d": ("team", "rank")}
        pods = [
            *(
                given("a", "chat-0"),
                given("a", "idle-0"),
                given("b", "unknown-0"),
                given("c", "train-7d4b9c6f5d-x2x4z"),
            ),
            *(given("d", "rank-0"), given("d", "rank-0", "sidecar"), given("d", "rank-1", namespace="dev")),
        ]
        shares = [
            f'gpu_service_busy_seconds_total{{uuid="{gpu}",service_name="{name}",service_namespace="{of}"}} {t / 2}'
            for gpu, (of, name) in busy.items()
        ]
        ended = [given("c", "gone-0")] if t < 20 else []
        pod = 'k8s_namespace_name="ml",k8s_pod_name="rank-0"'
        spans = f"""
foreshock_service_address_spans_total{{service_name="rank",service_namespace="team",{pod}}} 9
traces_span_metrics_calls_total{{service_name="train",span_kind="SPAN_KIND_SERVER"}} {t}
"""
        return "\n".join(
            [*(f'gpu_info{{gpu="{gpu}",uuid="{gpu}"}} 1' for gpu in "abcd"), *shares, *pods, *ended, spans]
        )

    found = world_scraped(tmp_path, {OURS: page}).allocations
    assert [(item.gpu.uuid, item.namespace, item.pod, str(item.service)) for item in found] == [
        ("a", "ml", "idle-0", "None"),
        ("c", "ml", "train-7d4b9c6f5d-x2x4z", "train"),
        ("d", "dev", "rank-1", "None"),
    ]


@pytest.mark.parametrize(
    ("configured", "tiers"),
    [
        ({}, ("gold", "")),
        ({Service("ml", "batch"): "bronze"}, ("gold", "bronze")),
        ({Service("serving", "llm"): "silver"}, ("silver", "")),
        ({Service("", "llm"): "silver", Service("serving", "other"): "iron"}, ("gold", "")),
    ],
)
def test_configured_tiers_override_exported_ones(
    tmp_path: Path, configured: dict[Service, str], tiers: tuple[str, str]
) -> None:
    """Service by service, each by namespace and name."""
    world = world_scraped(tmp_path, {OURS: exporter}, tiers=configured)

    found = dict(zip(world.services, world.tier, strict=True))
    assert (found[Service("serving", "llm")], found[Service("ml", "batch")]) == tiers


def test_pools_configured_in_the_exporter_are_those_of_its_gpus(tmp_path: Path) -> None:
    """From its option to the World: one exporter with simulated GPUs, scraped."""
    clock = [0.0]
    played = open_script("contended", lambda: clock[0])
    one = Exporter(
        played.driver,
        played.resolver,
        GpuOptions(pools=parse(["--pool=chat=0,1", "--pool", "batch=2"], {}).pools),
        host_id=played.host_id,
        host_name=played.host_name,
        now=lambda: clock[0],
        mock=True,
        timer=lambda: 0.0,
    )

    def page(t: float) -> str:
        clock[0] = t
        one.sample()
        return one.render().decode()

    world = world_scraped(tmp_path, {OURS: page})

    assert [(gpu.index, pool) for gpu, pool in zip(world.gpus, world.pool, strict=True)] == [
        ("0", "chat"),
        ("1", "chat"),
        ("2", "batch"),
        ("3", ""),
    ]


def test_the_pool_of_a_mig_instance_is_not_that_of_its_gpu(tmp_path: Path) -> None:
    """The World has whole GPUs."""
    of_instance = 'gpu_mig_pool_info{gpu="0",uuid="a",mig_uuid="MIG-1",pool="small"} 1\n'

    def undivided(t: float) -> str:
        return exporter(t).replace('gpu_pool_info{uuid="a",pool="chat"} 1\n', "")

    assert world_scraped(tmp_path / "one", {OURS: lambda t: exporter(t) + of_instance}).pool == ("chat",)
    assert world_scraped(tmp_path / "two", {OURS: lambda t: undivided(t) + of_instance}).pool == ()


def test_dcgm_exporter_alone_gives_gpus_and_their_tenants(tmp_path: Path) -> None:
    """In bytes, ratios and hertz; the pod's deployment is the service."""
    world = world_scraped(tmp_path, {DCGM: dcgm})
    one, two = (Gpu("host-9", str(i), f"GPU-{i}", "NVIDIA L4", "NVIDIA") for i in range(2))
    figures = (world.utilization, world.memory_used, world.memory_total, world.power, world.temperature)

    assert world.gpus == (one, two)
    assert [rows[0, -1] for rows in figures] == pytest.approx([0.8, 1000 * MIB, 4000 * MIB, 70.5, 60])
    assert world.tenants == (Tenant(one, Service("serving", "llm")),)
    assert (world.busy[0, -1], world.memory[0, -1]) == pytest.approx((0.8, 1000 * MIB))
    assert world.hardware
    assert (world.hardware.clock[0, -1], world.hardware.errors[0, -1]) == pytest.approx((0.75, 0.1))
    assert np.isnan(world.contended).all()
    assert world.gpu_wait_pairs == ()


def test_the_pod_of_dcgm_exporter_is_no_tenant(tmp_path: Path) -> None:
    """A scrape without honor_labels renames the labels of the workload to exported_…."""

    def page(t: float) -> str:
        own = 'namespace="gpu-operator",pod="nvidia-dcgm-exporter-x2x4z",Hostname='
        return (
            dcgm(t)
            .replace('namespace="serving",pod=', 'exported_namespace="serving",exported_pod=')
            .replace("Hostname=", own)
        )

    world = world_scraped(tmp_path, {DCGM: page})

    assert [tenant.service for tenant in world.tenants] == [Service("serving", "llm")]


def test_foreshock_exporter_is_preferred_to_dcgm_exporter(tmp_path: Path) -> None:
    """Both together would count everything twice."""
    world = world_scraped(tmp_path, {OURS: exporter, DCGM: dcgm})

    assert [gpu.uuid for gpu in world.gpus] == ["a"]


def test_a_neighbors_step_is_seen_within_three_scrapes(tmp_path: Path) -> None:
    """The share of a service on a GPU follows a step sooner than the rate of a whole minute."""

    def page(t: float) -> str:
        step = max(0.0, t - 90)
        return exporter(t).replace(
            f'service_namespace="ml"}} {0.1 * t}', f'service_namespace="ml"}} {0.1 * t + 0.8 * step}'
        )

    world = world_scraped(tmp_path, {OURS: page})
    row = next(i for i, tenant in enumerate(world.tenants) if tenant.service.name == "batch")

    assert world.busy[row, -4] == pytest.approx(0.1, abs=0.01)
    assert world.busy[row, -1] == pytest.approx(0.9, abs=0.01)
