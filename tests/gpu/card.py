"""Checks of an exposition of any real card: nothing missing without a reason, and nothing implausible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.exporter.whole.exposition import Values

from foreshock_exporter.exposition.families import FEATURES
from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Family
from foreshock_exporter.model.metric_sources import SOURCES

EVENTS = frozenset({metrics.XID_ERRORS, metrics.XID_LAST})
"""Absent until something happens."""
PARTS = frozenset(family for family in metrics.FAMILIES if family.name.startswith("gpu_mig_"))
"""Only of a GPU that is divided."""
REQUESTED = frozenset(
    {
        metrics.NVLINK_PORT_TRANSMIT,
        metrics.NVLINK_PORT_RECEIVE,
        *(family for family, source in SOURCES.items() if source == "--pool"),
        metrics.POOL_UNMATCHED,
    }
)
"""Only where a flag enables them."""
OF_SERVICES = frozenset(family for family in metrics.FAMILIES if {"uuid", "service_name"} <= set(family.labels))
"""Only while a process holds the GPU."""
OF_SOME = frozenset(family for family, *_ in FEATURES) | {
    family for family in metrics.FAMILIES if family.name.startswith("gpu_mps_")
}
"""Only of newer GPUs, those of one vendor, and those that used MPS."""
OPTIONAL = EVENTS | PARTS | REQUESTED | OF_SERVICES | OF_SOME | {metrics.METRIC_UNAVAILABLE, metrics.ALLOCATION_INFO}
TEMPERATURE = (5.0, 120.0)
MEMORY = (2.0**30, 2.0**42)
POWER_LIMIT = (10.0, 5000.0)
"""What is taken for plausible: °C, bytes, watts."""


def gpus(values: Values) -> dict[str, dict[str, str]]:
    """The labels of gpu_info by uuid."""
    return {labels["uuid"]: labels for name, labels in labelled(values) if name == metrics.GPU_INFO.name}


def labelled(values: Values) -> Iterator[tuple[str, dict[str, str]]]:
    """Names and labels of all samples."""
    return ((name, dict(labels)) for name, labels in values)


def value(values: Values, name: str, **labels: str) -> float | None:
    """The sum over the series of a name that have these labels; None where there is none."""
    found = [each for (of, having), each in values.items() if of == name and labels.items() <= dict(having).items()]
    return sum(found) if found else None


def unexplained(values: Values) -> list[tuple[str, str]]:
    """By GPU, families that are neither present nor listed as absent."""
    found: dict[str, set[str]] = {uuid: set() for uuid in gpus(values)}
    for name, labels in labelled(values):
        if labels.get("uuid") in found:
            found[labels["uuid"]].add(labels["metric"] if name == metrics.METRIC_UNAVAILABLE.name else name)
    return [
        (uuid, family.name) for uuid, known in found.items() for family in metrics.FAMILIES
        if "uuid" in family.labels and family not in OPTIONAL and known.isdisjoint(_sample_names(family))
    ]  # fmt: skip


def _sample_names(family: Family) -> tuple[str, ...]:
    return (family.name, f"{family.name}_count") if family.kind == "histogram" else (family.name,)


def implausible(values: Values) -> list[str]:
    """What of memory, power, temperature and shares cannot be."""
    return [f"{uuid}: {what}" for uuid in gpus(values) for what in _implausible_of(values, uuid)]


def _implausible_of(values: Values, uuid: str) -> Iterator[str]:
    def of(family: Family, **labels: str) -> float | None:
        return value(values, family.name, uuid=uuid, **labels)

    parts = [of(family) for family in (metrics.GPU_MEMORY_USED, metrics.GPU_MEMORY_FREE, metrics.GPU_MEMORY_RESERVED)]
    total, power, limit = (
        of(metrics.GPU_MEMORY_TOTAL),
        of(metrics.GPU_POWER),
        of(metrics.GPU_POWER_LIMIT),
    )
    bounds: Mapping[str, tuple[float | None, float, float]] = {
        "memory of the GPU": (total, *MEMORY),
        "power limit": (limit, *POWER_LIMIT),
        "power": (power, 1.0, 1.5 * (limit or POWER_LIMIT[1])),
        "temperature": (of(metrics.GPU_TEMPERATURE, sensor="gpu"), *TEMPERATURE),
        "busy share": (of(metrics.GPU_UTILIZATION), 0.0, 1.0),
        "busy share of the memory": (of(metrics.GPU_MEMORY_ACTIVE), 0.0, 1.0),
    }
    for what, (found, least, most) in bounds.items():
        if found is not None and not least <= found <= most:
            yield f"{what} is {found:g}"
    known = [part for part in parts if part is not None]
    if total is not None and len(known) == len(parts) and abs(sum(known) - total) > 0.01 * total:
        yield f"{sum(known):g} bytes used, free and reserved of {total:g}"
