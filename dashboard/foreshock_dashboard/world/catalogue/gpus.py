"""Catalogue of GPUs: metrics of foreshock-exporter, otherwise of dcgm-exporter."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import (
    GPU_LABELS,
    SERVICE_LABELS,
    TARGET_LABELS,
    CatalogueRow,
    Producer,
    RateWindows,
)

NEIGHBOR_LABELS = ("by_service_name", "by_service_namespace")
WORKLOAD_LABELS = ("namespace", "pod", "exported_namespace", "exported_pod")
"""Labels of the pod on a GPU; `exported_` if the labels of the scrape target have the same names."""

_DCGM_LABELS = (*TARGET_LABELS, "UUID", "GPU_I_ID", *WORKLOAD_LABELS)
_DCGM_RENAMES = {"UUID": "uuid", "modelName": "model", "Hostname": "host_name"}
_SM_CLOCK = Matcher("clock", "=", "sm")
_ABNORMAL_THROTTLING = Matcher("reason", "=~", "thermal|hw_thermal|power_brake|reliability|board_limit")
"""Throttle reasons of insufficient cooling or power. The power limit and idling are normal."""
_HARDWARE_XIDS = Matcher("xid", "!~", "8|13|31|43|45|68|94|109")
"""XID errors except those caused by applications or limited to one (NVIDIA's XID catalog)."""
BYTES_PER_MIB = 2.0**20


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Readings of identity, load, sharing, and health.

    dcgm-exporter's names, labels and units (MiB, MHz, percent) are those of its default counters
    (dcgm-exporter/etc/default-counters.csv). Its XID gauge is not read, because a gauge has no rate.
    """
    last, rate = windows.last, windows.rate

    def dcgm(field: str, scale: float = 1.0, by: tuple[str, ...] = _DCGM_LABELS) -> Producer:
        return Producer(last(f"DCGM_FI_{field}", by), _DCGM_RENAMES, scale=scale)

    gpus = "GPUs"
    busy = (dcgm("PROF_GR_ENGINE_ACTIVE"), dcgm("DEV_GPU_UTIL", 0.01))
    return {
        "up": CatalogueRow(last("up", TARGET_LABELS), "which targets are down"),
        "host": CatalogueRow(
            last("target_info", (*TARGET_LABELS, "host_name")),
            "names of hosts: their addresses stand for them",
            also=(Producer(last("node_uname_info", (*TARGET_LABELS, "nodename")), {"nodename": "host_name"}),),
        ),
        "gpu": CatalogueRow(
            last("gpu_info", (*GPU_LABELS, "gpu", "model")),
            gpus,
            tuple(
                dcgm(field, by=(*TARGET_LABELS, "UUID", "gpu", "modelName", "Hostname"))
                for field in ("DEV_GPU_UTIL", "PROF_GR_ENGINE_ACTIVE")
            ),
            shown=True,
        ),
        "pool": CatalogueRow(last("gpu_pool_info", ("uuid", "pool")), "pools of GPUs"),
        "mock": CatalogueRow(last("foreshock_exporter_mock", TARGET_LABELS), "the badge of simulated data"),
        "utilization": CatalogueRow(rate("gpu_busy_seconds_total", GPU_LABELS), gpus, busy, shown=True),
        "contended": CatalogueRow(rate("gpu_contended_seconds_total", GPU_LABELS), "contention", shown=True),
        "memory_used": CatalogueRow(
            last("gpu_memory_used_bytes", GPU_LABELS), gpus, (dcgm("DEV_FB_USED", BYTES_PER_MIB),), shown=True
        ),
        "memory_total": CatalogueRow(
            last("gpu_memory_total_bytes", GPU_LABELS), gpus, (dcgm("DEV_FB_TOTAL", BYTES_PER_MIB),), shown=True
        ),
        "memory_free": CatalogueRow(
            last("gpu_memory_free_bytes", GPU_LABELS),
            "the memory of a GPU, where no total is told",
            (dcgm("DEV_FB_FREE", BYTES_PER_MIB),),
        ),
        "power": CatalogueRow(last("gpu_power_watts", GPU_LABELS), "power", (dcgm("DEV_POWER_USAGE"),)),
        "temperature": CatalogueRow(
            last("gpu_temperature_celsius", GPU_LABELS, Matcher("sensor", "=", "gpu")),
            "temperature",
            (dcgm("DEV_GPU_TEMP"),),
        ),
        "clock": CatalogueRow(
            last("gpu_clock_hertz", GPU_LABELS, _SM_CLOCK), "clocks held down", (dcgm("DEV_SM_CLOCK", 1e6),)
        ),
        "clock_max": CatalogueRow(
            last("gpu_clock_max_hertz", GPU_LABELS, _SM_CLOCK), "clocks held down", (dcgm("DEV_MAX_SM_CLOCK", 1e6),)
        ),
        "throttled": CatalogueRow(
            rate("gpu_throttled_seconds_total", GPU_LABELS, _ABNORMAL_THROTTLING),
            "GPUs held back by heat or a lack of power",
        ),
        "gpu_errors": CatalogueRow(
            rate("gpu_xid_errors_total", GPU_LABELS, _HARDWARE_XIDS),
            "errors of GPUs",
            also=(
                Producer(rate("gpu_ecc_errors_total", GPU_LABELS, Matcher("severity", "=", "uncorrected")), {}),
                Producer(rate("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", (*TARGET_LABELS, "UUID")), _DCGM_RENAMES),
            ),
        ),
        "gpu_lost": CatalogueRow(last("gpu_lost", GPU_LABELS), "GPUs that fell off the bus"),
        "busy": CatalogueRow(
            windows.quick_rate("gpu_service_busy_seconds_total", (*GPU_LABELS, *SERVICE_LABELS)),
            "services on GPUs",
            busy,
            shown=True,
        ),
        "stalled": CatalogueRow(
            windows.quick_rate("gpu_service_stalled_seconds_total", (*GPU_LABELS, *SERVICE_LABELS)),
            "contention",
            shown=True,
        ),
        "stalled_by": CatalogueRow(
            windows.quick_rate(
                "gpu_service_stalled_by_seconds_total", (*GPU_LABELS, *SERVICE_LABELS, *NEIGHBOR_LABELS)
            ),
            "who starves whom",
            shown=True,
        ),
        "memory": CatalogueRow(
            last("gpu_service_memory_used_bytes", (*GPU_LABELS, *SERVICE_LABELS)),
            "services on GPUs",
            (dcgm("DEV_FB_USED", BYTES_PER_MIB),),
            shown=True,
        ),
    }
