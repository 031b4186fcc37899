"""Conversion of a snapshot to metric families. Pure; None in the snapshot is left out, never zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.pools import UnmatchedRule
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState, Snapshot
from foreshock_exporter.gpu.watchdog import CALLS
from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

_Part = Literal["reading", "counters", "health"]

_VALUES: tuple[tuple[Family, _Part, str], ...] = (
    (metrics.GPU_UTILIZATION, "reading", "utilization_ratio"),
    (metrics.GPU_MEMORY_USED, "reading", "memory_used_bytes"),
    (metrics.GPU_MEMORY_FREE, "reading", "memory_free_bytes"),
    (metrics.GPU_MEMORY_RESERVED, "reading", "memory_reserved_bytes"),
    (metrics.GPU_MEMORY_TOTAL, "reading", "memory_total_bytes"),
    (metrics.GPU_MEMORY_BUSY, "reading", "memory_busy_ratio"),
    (metrics.GPU_POWER, "reading", "power_watts"),
    (metrics.GPU_POWER_LIMIT, "reading", "power_limit_watts"),
    (metrics.GPU_ENERGY, "counters", "energy_joules"),
    (metrics.GPU_TEMPERATURE, "reading", "temperature_celsius"),
    (metrics.GPU_CLOCK, "reading", "clock_hertz"),
    (metrics.GPU_CLOCK_MAX, "health", "clock_max_hertz"),
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
    (metrics.REMAPPED_ROWS, "health", "remapped_rows"),
    (metrics.ROW_REMAP_PENDING, "health", "row_remap_pending"),
    (metrics.ROW_REMAP_FAILED, "health", "row_remap_failed"),
)
"""Families that map to one field: a number, or numbers by one additional label."""


def snapshot_families(snapshot: Snapshot) -> Families:
    """All families of a snapshot; some may have no sample."""
    return [
        *(_gpus(snapshot.gpus) if snapshot.gpus else ()),
        (metrics.TARGET_INFO, [Sample((snapshot.host_id, snapshot.host_name), 1.0)]),
        *(family for collector in sorted(snapshot.host) for family in snapshot.host[collector]),
        *_exporter(snapshot),
    ]


def _gpus(gpus: GpuSnapshot) -> Families:
    return [
        (metrics.GPU_EXPECTED, [Sample((), gpus.expected)]),
        (metrics.GPU_PRESENT, [Sample((), len(gpus.gpus))]),
        (
            metrics.GPU_LOST,
            [Sample((instance.gpu, uuid, instance.pci_bus_id), lost) for uuid, (instance, lost) in gpus.lost.items()],
        ),
        (metrics.XID_ERRORS, [Sample((xid.gpu, xid.uuid, xid.xid), xid.times) for xid in gpus.xids]),
        (metrics.XID_LAST, [Sample((xid.gpu, xid.uuid, xid.xid), xid.last) for xid in gpus.xids]),
        (metrics.POOL_INFO, [Sample((uuid, pool), 1.0) for uuid, pool in gpus.pools.items() if uuid in gpus.lost]),
        (metrics.POOL_IN_VAIN, [_unmatched_rule(rule) for rule in gpus.unmatched_rules]),
        *_devices(gpus.gpus, gpus.pools),
        *_sharing(gpus.gpus),
        (metrics.CALL_AGE, [*_calls(gpus)]),
    ]


def _calls(gpus: GpuSnapshot) -> Iterator[Sample]:
    """Age of each call in flight, and 0 for the other calls of GPUs that respond."""
    ages = {("", "count"): 0.0} | {(gpu.identity.gpu, call): 0.0 for gpu in gpus.gpus for call in CALLS}
    ages |= {("" if index is None else str(index), call): age for (index, call), age in gpus.call_ages.items()}
    return (Sample(key, age) for key, age in ages.items())


def _unmatched_rule(rule: UnmatchedRule) -> Sample:
    """Sample of an unmatched rule, with its index or UUID in the matching label."""
    ids = (rule.named, "") if rule.named.isdigit() else ("", rule.named)
    return Sample((*ids, rule.pool, rule.reason), 1.0)


def _devices(gpus: Iterable[GpuState], pools: Mapping[str, str]) -> Families:
    return [
        (metrics.GPU_INFO, [_info(gpu) for gpu in gpus]),
        *_instances(gpus, pools),
        *((family, _values(gpus, part, field)) for family, part, field in _VALUES),
        *_links(gpus),
    ]


def _values(gpus: Iterable[GpuState], part: _Part, field: str) -> list[Sample]:
    samples: list[Sample] = []
    for gpu in gpus:
        value: Any = getattr(getattr(gpu, part), field, None)
        if isinstance(value, (float, int)):
            samples.append(Sample(_ids(gpu), value))
        elif value is not None:
            samples += [Sample((*_ids(gpu), key), rule) for key, rule in value.items()]
    return samples


def _absences(gpu: GpuState) -> Iterator[Sample]:
    """Each missing metric of this GPU with the reason."""
    reasons = dict(gpu.absent)
    for family, name, field in _VALUES:
        part: Any = getattr(gpu, name)
        if part is not None and getattr(part, field) in (None, {}):
            reasons[family.name] = part.absent.get(field, "not_supported")
    return (Sample((*_ids(gpu), metric, reason), 1.0) for metric, reason in reasons.items())


def _instances(gpus: Iterable[GpuState], pools: Mapping[str, str]) -> Families:
    """MIG instances; memory is that of the GPU instance, shared by siblings."""
    instances = [(_ids(gpu), instance) for gpu in gpus for instance in gpu.reading.instances]
    return [
        (
            metrics.MIG_INFO,
            [
                Sample(
                    (*ids, instance.uuid, str(instance.gpu_instance), str(instance.compute_instance), instance.profile),
                    1.0,
                )
                for ids, instance in instances
            ],
        ),
        (
            metrics.MIG_MEMORY_USED,
            [
                Sample((*ids, instance.uuid), instance.memory_used_bytes)
                for ids, instance in instances
                if instance.memory_used_bytes is not None
            ],
        ),
        (
            metrics.MIG_MEMORY_TOTAL,
            [
                Sample((*ids, instance.uuid), instance.memory_total_bytes)
                for ids, instance in instances
                if instance.memory_total_bytes is not None
            ],
        ),
        (
            metrics.MIG_POOL_INFO,
            [
                Sample((*ids, instance.uuid, pools[instance.uuid]), 1.0)
                for ids, instance in instances
                if instance.uuid in pools
            ],
        ),
    ]


def _links(gpus: Iterable[GpuState]) -> Families:
    """Bytes of each NVLink, if collected per link."""
    instances = [
        ((*_ids(gpu), str(link)), carried)
        for gpu in gpus
        if gpu.counters is not None
        for link, carried in gpu.counters.nvlink_links.items()
    ]
    return [
        (metrics.NVLINK_LINK_TRANSMIT, [Sample(labels, carried.transmit) for labels, carried in instances]),
        (metrics.NVLINK_LINK_RECEIVE, [Sample(labels, carried.receive) for labels, carried in instances]),
    ]


def _sharing(gpus: Iterable[GpuState]) -> Families:
    """Counters of GPU sharing, without those a GPU marks absent."""
    return [
        (metrics.GPU_BUSY, [Sample(_ids(gpu), gpu.totals.busy) for gpu in _with(gpus, metrics.GPU_BUSY)]),
        (
            metrics.GPU_BUSY_RATIO,
            [
                HistogramSample(_ids(gpu), gpu.busy_histogram.counts, gpu.busy_histogram.sum)
                for gpu in _with(gpus, metrics.GPU_BUSY_RATIO)
            ],
        ),
        (
            metrics.UNATTRIBUTED,
            [Sample(_ids(gpu), gpu.totals.unattributed) for gpu in _with(gpus, metrics.UNATTRIBUTED)],
        ),
        (
            metrics.CONTENDED,
            [Sample(_ids(gpu), gpu.totals.contended) for gpu in _with(gpus, metrics.CONTENDED)],
        ),
        (
            metrics.SERVICE_BUSY,
            [
                Sample(_service(gpu, service), seconds)
                for gpu in _with(gpus, metrics.SERVICE_BUSY)
                for service, seconds in gpu.totals.service_busy.items()
            ],
        ),
        (
            metrics.STALLED,
            [
                Sample(_service(gpu, service), seconds)
                for gpu in _with(gpus, metrics.STALLED)
                for service, seconds in gpu.totals.stalled.items()
            ],
        ),
        (
            metrics.STALLED_BY,
            [
                Sample((*_service(gpu, victim), by.name, by.namespace), seconds)
                for gpu in _with(gpus, metrics.STALLED_BY)
                for (victim, by), seconds in gpu.totals.stalled_by.items()
            ],
        ),
        (
            metrics.SERVICE_MEMORY,
            [
                Sample(_service(gpu, service), holding.memory_used_bytes)
                for gpu in gpus
                for service, holding in gpu.holdings.items()
                if holding.memory_used_bytes is not None
            ],
        ),
        (
            metrics.SERVICE_PROCESSES,
            [
                Sample(_service(gpu, service), holding.processes)
                for gpu in gpus
                for service, holding in gpu.holdings.items()
            ],
        ),
        (
            metrics.METRIC_ABSENT,
            [sample for gpu in gpus for sample in _absences(gpu)],
        ),
        (metrics.SERVICES_OVER_LIMIT, [Sample(_ids(gpu), gpu.services_over_limit) for gpu in gpus]),
        (
            metrics.SAMPLES_DROPPED,
            [Sample((gpu.identity.gpu, reason), count) for gpu in gpus for reason, count in gpu.dropped.items()],
        ),
    ]


def _exporter(snapshot: Snapshot) -> Families:
    runs = sorted(snapshot.runs, key=lambda run: run.collector)
    return [
        (metrics.BUILD_INFO, [Sample((snapshot.version, snapshot.python_version), 1.0)]),
        (metrics.MOCK, [Sample((), snapshot.mock)]),
        (metrics.COLLECTOR_SUCCESS, [Sample((run.collector,), run.success) for run in runs]),
        (metrics.COLLECTOR_DURATION, [Sample((run.collector,), run.duration) for run in runs]),
        (metrics.COLLECTOR_LAST, [Sample((run.collector,), run.finished) for run in runs]),
    ]


def _with(gpus: Iterable[GpuState], family: Family) -> list[GpuState]:
    return [gpu for gpu in gpus if family.name not in gpu.absent]


def _ids(gpu: GpuState) -> tuple[str, str]:
    return gpu.identity.gpu, gpu.identity.uuid


def _service(gpu: GpuState, service: ServiceKey) -> tuple[str, ...]:
    return (*_ids(gpu), service.name, service.namespace, gpu.sources[service])


def _info(gpu: GpuState) -> Sample:
    identity = gpu.identity
    return Sample(
        (
            *_ids(gpu),
            identity.model,
            identity.pci_bus_id,
            identity.driver_version,
            identity.cuda_version,
            identity.sharing,
        ),
        1.0,
    )
