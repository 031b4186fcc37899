"""A snapshot as metric families. Pure: what is None in the snapshot is left out, never written as zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from foreshock_exporter import names
from foreshock_exporter.device import Reading
from foreshock_exporter.names import Family
from foreshock_exporter.sharing import ServiceKey
from foreshock_exporter.snapshot import GpuSnapshot, GpuState, InterfaceCounters, Pressure, Snapshot
from foreshock_exporter.text import Sample

Emitted = list[tuple[Family, Sequence[Sample]]]

_READINGS: tuple[tuple[Family, Callable[[Reading], float | None]], ...] = (
    (names.GPU_UTILIZATION, lambda reading: reading.utilization_ratio),
    (names.GPU_MEMORY_USED, lambda reading: reading.memory_used_bytes),
    (names.GPU_MEMORY_FREE, lambda reading: reading.memory_free_bytes),
    (names.GPU_MEMORY_RESERVED, lambda reading: reading.memory_reserved_bytes),
    (names.GPU_MEMORY_TOTAL, lambda reading: reading.memory_total_bytes),
    (names.GPU_MEMORY_BUSY, lambda reading: reading.memory_busy_ratio),
    (names.GPU_POWER, lambda reading: reading.power_watts),
    (names.GPU_POWER_LIMIT, lambda reading: reading.power_limit_watts),
    (names.GPU_ENERGY, lambda reading: reading.energy_joules),
)

_NETWORK: tuple[tuple[Family, Callable[[InterfaceCounters], float | None]], ...] = (
    (names.NETWORK_RECEIVE_BYTES, lambda counters: counters.receive_bytes),
    (names.NETWORK_RECEIVE_PACKETS, lambda counters: counters.receive_packets),
    (names.NETWORK_RECEIVE_ERRORS, lambda counters: counters.receive_errors),
    (names.NETWORK_RECEIVE_DROPS, lambda counters: counters.receive_drops),
    (names.NETWORK_TRANSMIT_BYTES, lambda counters: counters.transmit_bytes),
    (names.NETWORK_TRANSMIT_PACKETS, lambda counters: counters.transmit_packets),
    (names.NETWORK_TRANSMIT_ERRORS, lambda counters: counters.transmit_errors),
    (names.NETWORK_TRANSMIT_DROPS, lambda counters: counters.transmit_drops),
    (names.NETWORK_UP, lambda counters: counters.up),
    (names.NETWORK_SPEED, lambda counters: counters.speed_bytes),
)

_PRESSURE: tuple[tuple[Family, Callable[[Pressure], float | None]], ...] = (
    (names.PRESSURE_CPU_WAITING, lambda pressure: pressure.cpu_waiting),
    (names.PRESSURE_IO_WAITING, lambda pressure: pressure.io_waiting),
    (names.PRESSURE_IO_STALLED, lambda pressure: pressure.io_stalled),
    (names.PRESSURE_MEMORY_WAITING, lambda pressure: pressure.memory_waiting),
    (names.PRESSURE_MEMORY_STALLED, lambda pressure: pressure.memory_stalled),
    (names.PRESSURE_IRQ_STALLED, lambda pressure: pressure.irq_stalled),
)


def emit(snapshot: Snapshot) -> Emitted:
    """All families of a snapshot; those without a sample are empty."""
    return [
        *(_gpus(snapshot.gpus) if snapshot.gpus else ()),
        (names.TARGET_INFO, [Sample((snapshot.host_id, snapshot.host_name), 1.0)]),
        *_network(snapshot.network),
        *(_pressure(snapshot.pressure) if snapshot.pressure else ()),
        *_self(snapshot),
    ]


def _gpus(gpus: GpuSnapshot) -> Emitted:
    return [
        (names.GPU_EXPECTED, [Sample((), gpus.expected)]),
        (names.GPU_PRESENT, [Sample((), len(gpus.gpus))]),
        (names.GPU_LOST, [Sample((uuid,), lost) for uuid, lost in gpus.lost.items()]),
        *_devices(gpus.gpus),
        *_sharing(gpus.gpus),
    ]


def _devices(gpus: Iterable[GpuState]) -> Emitted:
    return [
        (names.GPU_INFO, [_info(gpu) for gpu in gpus]),
        *(
            (family, [Sample(_ids(gpu), value) for gpu in gpus if (value := of(gpu.reading)) is not None])
            for family, of in _READINGS
        ),
        (
            names.GPU_TEMPERATURE,
            [
                Sample((*_ids(gpu), "gpu"), gpu.reading.temperature_celsius)
                for gpu in gpus
                if gpu.reading.temperature_celsius is not None
            ],
        ),
    ]


def _sharing(gpus: Iterable[GpuState]) -> Emitted:
    """The counters of sharing; a metric that a GPU marks absent is left out for that GPU."""
    return [
        (names.GPU_BUSY, [Sample(_ids(gpu), gpu.totals.busy) for gpu in _with(gpus, names.GPU_BUSY)]),
        (names.UNATTRIBUTED, [Sample(_ids(gpu), gpu.totals.unattributed) for gpu in _with(gpus, names.UNATTRIBUTED)]),
        (names.CONTENDED, [Sample(_ids(gpu), gpu.totals.contended) for gpu in _with(gpus, names.CONTENDED)]),
        (
            names.SERVICE_BUSY,
            [
                Sample(_service(gpu, service), seconds)
                for gpu in _with(gpus, names.SERVICE_BUSY)
                for service, seconds in gpu.totals.service_busy.items()
            ],
        ),
        (
            names.STALLED,
            [
                Sample(_service(gpu, service), seconds)
                for gpu in _with(gpus, names.STALLED)
                for service, seconds in gpu.totals.stalled.items()
            ],
        ),
        (
            names.STALLED_BY,
            [
                Sample((*_service(gpu, victim), by.name, by.namespace), seconds)
                for gpu in _with(gpus, names.STALLED_BY)
                for (victim, by), seconds in gpu.totals.stalled_by.items()
            ],
        ),
        (
            names.SERVICE_MEMORY,
            [
                Sample(_service(gpu, service), holding.memory_used_bytes)
                for gpu in gpus
                for service, holding in gpu.holdings.items()
                if holding.memory_used_bytes is not None
            ],
        ),
        (
            names.SERVICE_PROCESSES,
            [
                Sample(_service(gpu, service), holding.processes)
                for gpu in gpus
                for service, holding in gpu.holdings.items()
            ],
        ),
        (
            names.METRIC_ABSENT,
            [Sample((*_ids(gpu), metric, reason), 1.0) for gpu in gpus for metric, reason in gpu.absent.items()],
        ),
        (names.SERVICES_OVER_LIMIT, [Sample(_ids(gpu), gpu.services_over_limit) for gpu in gpus]),
    ]


def _network(interfaces: Iterable[InterfaceCounters]) -> Emitted:
    return [
        (
            family,
            [Sample((counters.device,), value) for counters in interfaces if (value := of(counters)) is not None],
        )
        for family, of in _NETWORK
    ]


def _pressure(pressure: Pressure) -> Emitted:
    return [(family, [Sample((), value)]) for family, of in _PRESSURE if (value := of(pressure)) is not None]


def _self(snapshot: Snapshot) -> Emitted:
    runs = sorted(snapshot.runs, key=lambda run: run.collector)
    return [
        (names.BUILD_INFO, [Sample((snapshot.version, snapshot.python_version), 1.0)]),
        (names.MOCK, [Sample((), snapshot.mock)]),
        (names.COLLECTOR_SUCCESS, [Sample((run.collector,), run.success) for run in runs]),
        (names.COLLECTOR_DURATION, [Sample((run.collector,), run.duration) for run in runs]),
        (names.COLLECTOR_LAST, [Sample((run.collector,), run.finished) for run in runs]),
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
