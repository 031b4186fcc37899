"""Conversion of a snapshot to metric families. Pure; None in the snapshot is left out, never zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.pools import UnmatchedRule
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState, Snapshot
from foreshock_exporter.gpu.watchdog import CALLS, CallKey
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Activity, Instance
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

_Part = Literal["reading", "counters", "health", "activity"]
_Samples = Callable[[GpuState], Iterable[Any]]
"""Samples of one GPU."""

_VALUES: tuple[tuple[Family, _Part, str], ...] = (
    (metrics.GPU_UTILIZATION, "reading", "utilization_ratio"),
    (metrics.GPU_MEMORY_USED, "reading", "memory_used_bytes"),
    (metrics.GPU_MEMORY_FREE, "reading", "memory_free_bytes"),
    (metrics.GPU_MEMORY_RESERVED, "reading", "memory_reserved_bytes"),
    (metrics.GPU_MEMORY_TOTAL, "reading", "memory_total_bytes"),
    (metrics.GPU_MEMORY_ACTIVE, "reading", "memory_busy_ratio"),
    (metrics.SM_ACTIVE, "activity", "sm_seconds"),
    (metrics.SM_OCCUPANCY, "activity", "occupancy_seconds"),
    (metrics.TENSOR_ACTIVE, "activity", "tensor_seconds"),
    (metrics.PIPE_ACTIVE, "activity", "pipe_seconds"),
    (metrics.DRAM_ACTIVE, "activity", "dram_seconds"),
    (metrics.ENGINE_ACTIVE, "activity", "engine_seconds"),
    (metrics.CONTEXT_SWITCH, "activity", "context_switch_seconds"),
    (metrics.GPU_POWER, "reading", "power_watts"),
    (metrics.GPU_POWER_LIMIT, "reading", "power_limit_watts"),
    (metrics.GPU_ENERGY, "counters", "energy_joules"),
    (metrics.GPU_TEMPERATURE, "reading", "temperature_celsius"),
    (metrics.GPU_CLOCK, "reading", "clock_hertz"),
    (metrics.GPU_CLOCK_MAX, "health", "clock_max_hertz"),
    (metrics.GPU_CLOCK_APPLICATION, "health", "clock_application_hertz"),
    (metrics.GPU_THROTTLED, "counters", "throttled_seconds"),
    (metrics.PCIE_TRANSMIT, "counters", "pcie_transmit_bytes"),
    (metrics.PCIE_RECEIVE, "counters", "pcie_receive_bytes"),
    (metrics.PCIE_REPLAYS, "health", "pcie_replays"),
    (metrics.PCIE_WIDTH, "health", "pcie_link_width"),
    (metrics.PCIE_WIDTH_MAX, "health", "pcie_link_width_max"),
    (metrics.PCIE_GENERATION, "health", "pcie_link_generation"),
    (metrics.PCIE_GENERATION_MAX, "health", "pcie_link_generation_max"),
    (metrics.NVLINK_TRANSMIT, "counters", "nvlink_transmit_bytes"),
    (metrics.NVLINK_RECEIVE, "counters", "nvlink_receive_bytes"),
    (metrics.NVLINK_ERRORS, "health", "nvlink_errors"),
    (metrics.NVLINK_LINKS, "health", "nvlink_links"),
    (metrics.NVLINK_LINKS_UP, "health", "nvlink_links_up"),
    (metrics.ECC_ERRORS, "health", "ecc_errors"),
    (metrics.ECC_LOCATION_ERRORS, "health", "ecc_location_errors"),
    (metrics.RETIRED_PAGES, "health", "retired_pages"),
    (metrics.PAGE_RETIREMENT_PENDING, "health", "page_retirement_pending"),
    (metrics.RECOVERY_ACTION, "health", "recovery_action"),
    (metrics.FABRIC_STATE, "health", "fabric_state"),
    (metrics.PCIE_AER_ERRORS, "health", "pcie_aer_errors"),
    (metrics.REMAPPED_ROWS, "health", "remapped_rows"),
    (metrics.ROW_REMAP_PENDING, "health", "row_remap_pending"),
    (metrics.ROW_REMAP_FAILED, "health", "row_remap_failed"),
)
"""Families that map to one field: a number, or numbers by additional labels."""
FEATURES: tuple[tuple[Family, _Part, str], ...] = (
    (metrics.NVLINK_BIT_ERRORS, "health", "nvlink_bit_error_ratio"),
    (metrics.FABRIC_INFO, "health", "fabric_info"),
    (metrics.FABRIC_HEALTH, "health", "fabric_health"),
    (metrics.PLATFORM_INFO, "health", "platform"),
    (metrics.C2C_LINKS, "health", "c2c_links"),
    (metrics.C2C_LINKS_UP, "health", "c2c_links_up"),
    (metrics.C2C_SPEED, "health", "c2c_bytes_per_second"),
    (metrics.C2C_TRANSMIT, "activity", "c2c_transmit_bytes"),
    (metrics.C2C_RECEIVE, "activity", "c2c_receive_bytes"),
    (metrics.C2C_ERRORS, "health", "c2c_errors"),
    (metrics.MODULE_POWER, "reading", "module_power_watts"),
    (metrics.MODULE_POWER_LIMIT, "reading", "module_power_limit_watts"),
    (metrics.TEMPERATURE_MARGIN, "health", "temperature_margin_celsius"),
    (metrics.POWER_PROFILE, "health", "power_profiles"),
    (metrics.POWER_SMOOTHING, "health", "power_smoothing_enabled"),
    (metrics.POWER_SMOOTHING_LIFETIME, "health", "power_smoothing_lifetime_ratio"),
    (metrics.CONFIDENTIAL_COMPUTING, "health", "confidential_computing"),
    (metrics.CONFIDENTIAL_COMPUTING_READY, "health", "confidential_computing_ready"),
    (metrics.SRAM_THRESHOLD, "health", "sram_ecc_threshold_exceeded"),
    (metrics.REPAIR_PENDING, "health", "repair_pending"),
    (metrics.BANK_REMAPS, "health", "bank_remaps"),
    (metrics.BANK_REMAP_PENDING, "health", "bank_remap_pending"),
    (metrics.XGMI_TRANSMIT, "counters", "xgmi_transmit_bytes"),
    (metrics.XGMI_RECEIVE, "counters", "xgmi_receive_bytes"),
    (metrics.XGMI_LINKS_UP, "health", "xgmi_links_up"),
    (metrics.XGMI_LINK_SPEED, "health", "xgmi_link_bytes_per_second"),
)
"""The same for features that few GPUs have. On others, "not_supported" is no news, and not exported."""
_MIG_ACTIVITY: tuple[tuple[Family, str], ...] = (
    (metrics.MIG_SM_ACTIVE, "sm_seconds"),
    (metrics.MIG_SM_OCCUPANCY, "occupancy_seconds"),
    (metrics.MIG_TENSOR_ACTIVE, "tensor_seconds"),
    (metrics.MIG_PIPE_ACTIVE, "pipe_seconds"),
    (metrics.MIG_DRAM_ACTIVE, "dram_seconds"),
    (metrics.MIG_ENGINE_ACTIVE, "engine_seconds"),
    (metrics.MIG_CONTEXT_SWITCH, "context_switch_seconds"),
)
"""Families of a field of `Activity` of each GPU instance: shares of the instance, of which a sum means nothing."""

_MIG_PLACEMENT: tuple[tuple[Family, str], ...] = (
    (metrics.MIG_PLACEMENT_START, "placement_start"),
    (metrics.MIG_PLACEMENT_SIZE, "placement_size"),
)
"""Families of a field of `Instance` that GPU instances have."""
_MIG_NAMES = (
    *(family.name for family in (metrics.MIG_INFO, metrics.MIG_MEMORY_USED, metrics.MIG_MEMORY_TOTAL)),
    *(family.name for family, _ in (*_MIG_PLACEMENT, *_MIG_ACTIVITY)),
)
"""Metrics of MIG instances, all of which are missing while it is unknown whether there are any."""


def snapshot_families(snapshot: Snapshot) -> Families:
    """All families of a snapshot; some may have no sample."""
    return [
        *(_gpus(snapshot.gpus) if snapshot.gpus else ()),
        (metrics.CALL_AGE, [*_calls((), snapshot.first_calls)] if snapshot.first_calls else []),
        (metrics.TARGET_INFO, [Sample((snapshot.host_id, snapshot.host_name), 1.0)]),
        *(family for collector in sorted(snapshot.host) for family in snapshot.host[collector]),
        *_exporter(snapshot),
    ]


def _gpus(snapshot: GpuSnapshot) -> Families:
    gpus, lost, pools = snapshot.gpus, snapshot.lost, snapshot.pools
    instances = [(gpu, part) for gpu in gpus for part in gpu.reading.instances]
    return [
        (metrics.GPUS_EXPECTED, [Sample((), snapshot.expected)]),
        (metrics.GPUS_PRESENT, [Sample((), len(gpus))]),
        (metrics.GPU_LOST, [Sample((gpu.gpu, uuid, gpu.pci_bus_id), gone) for uuid, (gpu, gone) in lost.items()]),
        (metrics.XID_ERRORS, [Sample((xid.gpu, xid.uuid, xid.xid), xid.times) for xid in snapshot.xids]),
        (metrics.XID_LAST, [Sample((xid.gpu, xid.uuid, xid.xid), xid.last) for xid in snapshot.xids]),
        (
            metrics.SERVICE_XID_ERRORS,
            [
                Sample((*count[:2], service.name, service.namespace, service.source, count.xid), count.times)
                for count in snapshot.service_xids
                for service in (count.service,)
            ],
        ),
        (metrics.NVSWITCH_SXID_ERRORS, [Sample(labels, times) for labels, times in snapshot.sxids.items()]),
        (metrics.POOL_INFO, [Sample((uuid, pool), 1.0) for uuid, pool in pools.items() if uuid in lost]),
        (metrics.POOL_UNMATCHED, [_unmatched_rule(rule) for rule in snapshot.unmatched_rules]),
        *_by_gpu(gpus, _INFO),
        (
            metrics.MIG_POOL_INFO,
            [_mig(gpu, part, 1.0, pools[part.uuid]) for gpu, part in instances if part.uuid in pools],
        ),
        *((family, _mig_placement(gpus, field)) for family, field in _MIG_PLACEMENT),
        *((family, _mig_activity(gpus, field)) for family, field in _MIG_ACTIVITY),
        *((family, _values(gpus, part, field)) for family, part, field in (*_VALUES, *FEATURES)),
        *_by_gpu(gpus, _ACTIVITY),
        (metrics.DRIVER_UP, [Sample((name,), is_up) for name, is_up in snapshot.drivers_up.items()]),
        (metrics.CALL_AGE, [*_calls(gpus, snapshot.call_ages)]),
    ]


def _calls(gpus: Iterable[GpuState], call_ages: Mapping[CallKey, float]) -> Iterator[Sample]:
    """Age of each call in flight, and 0 for the other calls of GPUs that respond."""
    ages = {("", "count"): 0.0} | {(gpu.identity.gpu, call): 0.0 for gpu in gpus for call in CALLS}
    ages |= {("" if index is None else str(index), call): age for (index, call), age in call_ages.items()}
    return (Sample(key, age) for key, age in ages.items())


def _unmatched_rule(rule: UnmatchedRule) -> Sample:
    """Sample of an unmatched rule, with its index or UUID in the matching label."""
    ids = (rule.named, "") if rule.named.isdigit() else ("", rule.named)
    return Sample((*ids, rule.pool, rule.reason), 1.0)


def _values(gpus: Iterable[GpuState], part: _Part, field: str) -> list[Sample]:
    return [sample for gpu in gpus for sample in _samples(_ids(gpu), getattr(getattr(gpu, part), field, None))]


def _samples(labels: tuple[str, ...], value: Any) -> list[Sample]:  # noqa: ANN401 - a number, numbers by label, or None
    if value is None:
        return []
    if isinstance(value, (float, int)):
        return [Sample(labels, value)]
    return [Sample((*labels, *((key,) if isinstance(key, str) else key)), item) for key, item in value.items()]


def _by_gpu(gpus: Iterable[GpuState], table: Iterable[tuple[Family, _Samples]]) -> Families:
    """Families of a table, without the GPUs that mark them absent."""
    return [
        (family, [sample for gpu in gpus if family.name not in gpu.absent for sample in samples(gpu)])
        for family, samples in table
    ]


def _info(gpu: GpuState) -> Iterator[Sample]:
    own = gpu.identity
    labels = (*_ids(gpu), own.model, own.pci_bus_id, own.driver_version, own.cuda_version, own.sharing, own.vendor)
    yield Sample(labels, 1.0)


def _mig(gpu: GpuState, instance: Instance, value: float, *labels: str) -> Sample:
    return Sample((*_ids(gpu), instance.uuid, *labels), value)


def _mig_values(gpu: GpuState, field: str) -> Iterator[Sample]:
    for instance in gpu.reading.instances:
        if (value := getattr(instance, field)) is not None:
            yield _mig(gpu, instance, value)


def _mig_placement(gpus: Iterable[GpuState], field: str) -> list[Sample]:
    return [
        Sample((*_ids(gpu), str(gpu_instance)), value)
        for gpu in gpus
        for gpu_instance, value in {part.gpu_instance: getattr(part, field) for part in gpu.reading.instances}.items()
        if value is not None
    ]


def _mig_activity(gpus: Iterable[GpuState], field: str) -> list[Sample]:
    return [
        sample
        for gpu in gpus
        for instance, activity in _instances(gpu).items()
        for sample in _samples((*_ids(gpu), str(instance)), getattr(activity, field))
    ]


def _instances(gpu: GpuState) -> Mapping[int, Activity]:
    return gpu.activity.instances if gpu.activity else {}


def _by_service(gpu: GpuState, values: Mapping[ServiceKey, float | None]) -> list[Sample]:
    return [Sample(_service(gpu, service), value) for service, value in values.items() if value is not None]


def _absences(gpu: GpuState) -> Iterator[Sample]:
    """Each missing metric of this GPU, its GPU instances, its resources, or throttle reasons, with the reason."""
    parts = [(family, getattr(gpu, part), field) for family, part, field in _VALUES]
    parts += [(family, part, field) for family, field in _MIG_ACTIVITY for part in _instances(gpu).values()]
    reasons = dict(gpu.absent)
    if gpu.mps is not None:
        unknown = [family.name for family, field in _MPS if getattr(gpu.mps, field) is None]
        reasons |= dict.fromkeys(unknown, "not_found")
        if gpu.mps.clients_unknown:
            reasons |= dict.fromkeys((family.name for family in metrics.MPS_CLIENT_FAMILIES), gpu.mps.clients_unknown)
    for family, part, field in parts:
        if part is not None and getattr(part, field) in (None, {}):
            reasons[family.name] = part.absent.get(field, "not_supported")
    if "instances" in gpu.reading.absent:
        reasons |= dict.fromkeys(_MIG_NAMES, gpu.reading.absent["instances"])
    for family, field in _MIG_PLACEMENT:
        if any(getattr(instance, field) is None for instance in gpu.reading.instances):
            reasons[family.name] = gpu.reading.absent.get(field, "not_supported")
    for family, name, field in FEATURES:
        reason = getattr(getattr(gpu, name), "absent", {}).get(field, "not_supported")
        if reason != "not_supported":
            reasons[family.name] = reason
    missing = [(metric, reason, "") for metric, reason in reasons.items()]
    missing += [(metrics.RESOURCE_SATURATED.name, reason, resource) for resource, reason in gpu.unlimited.items()]
    for key, reason in gpu.counters.absent.items() if gpu.counters else ():
        field, _, throttle = key.partition("/")
        missing += [(metrics.GPU_THROTTLED.name, reason, throttle)] if field == "throttled_seconds" and throttle else []
    return (Sample((*_ids(gpu), *labels), 1.0) for labels in missing)


def _links(gpu: GpuState, direction: int) -> Iterator[Sample]:
    """Bytes of each NVLink in one direction, if collected per link."""
    links = gpu.counters.nvlink_links if gpu.counters else {}
    return (Sample((*_ids(gpu), str(link)), carried[direction]) for link, carried in links.items())


def _mps(field: str, gpu: GpuState) -> list[Sample]:
    """Value of a field of the MPS state of a GPU, or values by service."""
    value = None if gpu.mps is None else getattr(gpu.mps, field)
    if isinstance(value, Mapping):
        return _by_service(gpu, value)
    return _samples(_ids(gpu), value)


_MPS: tuple[tuple[Family, str], ...] = (
    (metrics.SERVICE_MPS_SM_LIMIT, "sm_limits"),
    (metrics.SERVICE_MPS_MEMORY_LIMIT, "memory_limits"),
    (metrics.SERVICE_MPS_CLIENTS, "by_service"),
    (metrics.MPS_CLIENTS, "clients"),
    (metrics.MPS_SERVERS, "servers"),
    (metrics.MPS_SERVERS_ENDED, "servers_ended"),
    (metrics.MPS_DAEMON_UP, "has_daemon"),
)
"""Families of a field of `MpsState`."""

_INFO: tuple[tuple[Family, _Samples], ...] = (
    (metrics.GPU_INFO, _info),
    (
        metrics.MIG_INFO,
        lambda gpu: (
            _mig(gpu, part, 1.0, str(part.gpu_instance), str(part.compute_instance), part.profile)
            for part in gpu.reading.instances
        ),
    ),
    (metrics.MIG_MEMORY_USED, lambda gpu: _mig_values(gpu, "memory_used_bytes")),
    (metrics.MIG_MEMORY_TOTAL, lambda gpu: _mig_values(gpu, "memory_total_bytes")),
)
"""Identity of GPUs and MIG instances. Memory is that of the GPU instance, which siblings share."""

_ACTIVITY: tuple[tuple[Family, _Samples], ...] = (
    (metrics.NVLINK_PORT_TRANSMIT, lambda gpu: _links(gpu, 0)),
    (metrics.NVLINK_PORT_RECEIVE, lambda gpu: _links(gpu, 1)),
    (metrics.GPU_BUSY, lambda gpu: (Sample(_ids(gpu), gpu.totals.busy),)),
    (
        metrics.GPU_UTILIZATION_SAMPLES,
        lambda gpu: (HistogramSample(_ids(gpu), gpu.busy_histogram.counts, gpu.busy_histogram.sum),),
    ),
    (metrics.UNATTRIBUTED, lambda gpu: (Sample(_ids(gpu), gpu.totals.unattributed),)),
    (metrics.CONTENDED, lambda gpu: (Sample(_ids(gpu), gpu.totals.contended),)),
    (metrics.SERVICE_BUSY, lambda gpu: _by_service(gpu, gpu.totals.service_busy)),
    (metrics.SERVICE_WAIT, lambda gpu: _by_service(gpu, gpu.totals.gpu_wait)),
    (
        metrics.SERVICE_WAIT_BY_AGGRESSOR,
        lambda gpu: (
            Sample((*_service(gpu, victim), by.name, by.namespace), seconds)
            for (victim, by), seconds in gpu.totals.gpu_wait_by.items()
        ),
    ),
    (
        metrics.RESOURCE_SATURATED,
        lambda gpu: (Sample((*_ids(gpu), resource), seconds) for resource, seconds in gpu.totals.saturated.items()),
    ),
    (
        metrics.SERVICE_RESOURCE_WAIT,
        lambda gpu: (
            Sample((*_service(gpu, service), resource), seconds)
            for (service, resource), seconds in gpu.totals.resource_wait.items()
        ),
    ),
    (
        metrics.SERVICE_MEMORY,
        lambda gpu: _by_service(gpu, {service: held.memory_used_bytes for service, held in gpu.holdings.items()}),
    ),
    (
        metrics.SERVICE_PROCESSES,
        lambda gpu: _by_service(gpu, {service: held.processes for service, held in gpu.holdings.items()}),
    ),
    (
        metrics.SERVICE_JOB_INFO,
        lambda gpu: (Sample((*_service(gpu, key), job), 1.0) for key, jobs in gpu.jobs.items() for job in jobs),
    ),
    *((family, partial(_mps, field)) for family, field in _MPS),
    (metrics.METRIC_UNAVAILABLE, _absences),
    (metrics.SERVICES_DROPPED, lambda gpu: (Sample(_ids(gpu), gpu.services_over_limit),)),
    (
        metrics.SAMPLES_DROPPED,
        lambda gpu: (Sample((gpu.identity.gpu, reason), count) for reason, count in gpu.dropped.items()),
    ),
)
"""Links and sharing of a GPU."""


def _exporter(snapshot: Snapshot) -> Families:
    runs = sorted(snapshot.runs, key=lambda run: run.collector)
    return [
        (metrics.BUILD_INFO, [Sample((snapshot.version, snapshot.python_version), 1.0)]),
        (metrics.MOCK, [Sample((), snapshot.mock)]),
        (metrics.COLLECTOR_SUCCESS, [Sample((run.collector,), run.success) for run in runs]),
        (metrics.COLLECTOR_DURATION, [Sample((run.collector,), run.duration) for run in runs]),
        (metrics.COLLECTOR_LAST, [Sample((run.collector,), run.finished) for run in runs]),
    ]


def _ids(gpu: GpuState) -> tuple[str, str]:
    return gpu.identity.gpu, gpu.identity.uuid


def _service(gpu: GpuState, service: ServiceKey) -> tuple[str, ...]:
    return (*_ids(gpu), service.name, service.namespace, gpu.sources[service])
