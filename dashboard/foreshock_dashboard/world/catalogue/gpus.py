"""What is read of GPUs: from our exporter, or from dcgm-exporter where there is only that."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import GPU, SERVICE, TARGET, Form, Reading, Windows

BY_SERVICE = ("by_service_name", "by_service_namespace")
WORKLOAD = ("namespace", "pod", "exported_namespace", "exported_pod")
"""Labels of the pod that holds a GPU; `exported_` where the scrape's own labels took the names."""

_DCGM = (*TARGET, "UUID", "GPU_I_ID", *WORKLOAD)
_NAMES = {"UUID": "uuid", "modelName": "model", "Hostname": "host_name"}
_SM = Matcher("clock", "=", "sm")
_SICK = Matcher("reason", "=~", "thermal|hw_thermal|power_brake|reliability|board_limit")
"""What holds back a GPU that is not well cooled or fed. The power limit and idling are normal."""
_XIDS = Matcher("xid", "!~", "8|13|31|43|45|68|94|109")
"""XID errors but those that an application causes, or that cost only the application (NVIDIA's XID catalog)."""
MIB = 2.0**20


def readings(windows: Windows) -> Mapping[str, Reading]:
    """Identity, load, sharing and health.

    dcgm-exporter's names, labels and units (MiB, MHz, percent) are those of its default counters
    (dcgm-exporter/etc/default-counters.csv). Its last XID is a gauge and tells no rate; it is not read.
    """
    last, rate = windows.last, windows.rate

    def dcgm(field: str, scale: float = 1.0, by: tuple[str, ...] = _DCGM) -> Form:
        return Form(last(f"DCGM_FI_{field}", by), _NAMES, scale=scale)

    gpus = "GPUs"
    busy = (dcgm("PROF_GR_ENGINE_ACTIVE"), dcgm("DEV_GPU_UTIL", 0.01))
    return {
        "up": Reading(last("up", TARGET), "which targets are down"),
        "host": Reading(
            last("target_info", (*TARGET, "host_name")),
            "names of hosts: their addresses stand for them",
            also=(Form(last("node_uname_info", (*TARGET, "nodename")), {"nodename": "host_name"}),),
        ),
        "gpu": Reading(
            last("gpu_info", (*GPU, "gpu", "model")),
            gpus,
            tuple(
                dcgm(field, by=(*TARGET, "UUID", "gpu", "modelName", "Hostname"))
                for field in ("DEV_GPU_UTIL", "PROF_GR_ENGINE_ACTIVE")
            ),
            shown=True,
        ),
        "pool": Reading(last("gpu_pool_info", ("uuid", "pool")), "pools of GPUs"),
        "mock": Reading(last("foreshock_exporter_mock", TARGET), "the badge of simulated data"),
        "utilization": Reading(rate("gpu_busy_seconds_total", GPU), gpus, busy, shown=True),
        "contended": Reading(rate("gpu_contended_seconds_total", GPU), "contention", shown=True),
        "memory_used": Reading(last("gpu_memory_used_bytes", GPU), gpus, (dcgm("DEV_FB_USED", MIB),), shown=True),
        "memory_total": Reading(last("gpu_memory_total_bytes", GPU), gpus, (dcgm("DEV_FB_TOTAL", MIB),), shown=True),
        "memory_free": Reading(
            last("gpu_memory_free_bytes", GPU),
            "the memory of a GPU, where no total is told",
            (dcgm("DEV_FB_FREE", MIB),),
        ),
        "power": Reading(last("gpu_power_watts", GPU), "power", (dcgm("DEV_POWER_USAGE"),)),
        "temperature": Reading(
            last("gpu_temperature_celsius", GPU, Matcher("sensor", "=", "gpu")), "temperature", (dcgm("DEV_GPU_TEMP"),)
        ),
        "clock": Reading(last("gpu_clock_hertz", GPU, _SM), "clocks held down", (dcgm("DEV_SM_CLOCK", 1e6),)),
        "clock_max": Reading(
            last("gpu_clock_max_hertz", GPU, _SM), "clocks held down", (dcgm("DEV_MAX_SM_CLOCK", 1e6),)
        ),
        "throttled": Reading(
            rate("gpu_throttled_seconds_total", GPU, _SICK), "GPUs held back by heat or a lack of power"
        ),
        "gpu_errors": Reading(
            rate("gpu_xid_errors_total", GPU, _XIDS),
            "errors of GPUs",
            also=(
                Form(rate("gpu_ecc_errors_total", GPU, Matcher("severity", "=", "uncorrected")), {}),
                Form(rate("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", (*TARGET, "UUID")), _NAMES),
            ),
        ),
        "gpu_lost": Reading(last("gpu_lost", GPU), "GPUs that fell off the bus"),
        "busy": Reading(
            windows.quick_rate("gpu_service_busy_seconds_total", (*GPU, *SERVICE)), "services on GPUs", busy, shown=True
        ),
        "stalled": Reading(
            windows.quick_rate("gpu_service_stalled_seconds_total", (*GPU, *SERVICE)), "contention", shown=True
        ),
        "stalled_by": Reading(
            windows.quick_rate("gpu_service_stalled_by_seconds_total", (*GPU, *SERVICE, *BY_SERVICE)),
            "who starves whom",
            shown=True,
        ),
        "memory": Reading(
            last("gpu_service_memory_used_bytes", (*GPU, *SERVICE)),
            "services on GPUs",
            (dcgm("DEV_FB_USED", MIB),),
            shown=True,
        ),
    }
