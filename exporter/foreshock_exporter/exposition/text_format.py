"""The Prometheus text format 0.0.4 and OpenMetrics 1.0, written fast: a scrape of 8 GPUs is about a thousand lines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

MAX_REMEMBERED = 2048
"""Label sets per family whose text is kept; past it, all of the family are forgotten. Services come and go."""
_UNITS = ("seconds", "bytes", "ratio", "celsius", "joules", "hertz", "watts")
_WITHOUT_UNIT = ("node_network_speed_bytes",)
"""Names that end like a unit which they are not in: bytes a second."""


def render(exposition: Families, openmetrics: bool = False) -> bytes:
    """Families with their samples as exposition text. Families without samples and values that are NaN are left out.

    Args:
        exposition: each family once.
        openmetrics: in OpenMetrics 1.0 instead of the text format.
    """
    parts: list[str] = []
    for family, samples in exposition:
        if samples:
            parts.append(_header(family, openmetrics))
            _add(parts, family, samples, openmetrics)
    if openmetrics:
        parts.append("# EOF\n")
    return "".join(parts).encode(errors="replace")


def _add(parts: list[str], family: Family, samples: Iterable[Sample | HistogramSample], openmetrics: bool) -> None:
    """Add the lines of the samples. The hot loop: what a line begins with is looked up, only its number is written."""
    known = _known(family)
    for sample in samples:
        labels = sample.labels
        begins = known.get(labels) or _remember(known, family, labels)
        if isinstance(sample, HistogramSample):
            _add_distribution(parts, begins, sample, "" if openmetrics else ".0")
            continue
        value = sample.value
        if value - value == 0.0:
            parts.append(f"{begins[0]}{float(value)!r}\n")
        elif value == value:  # an infinity; a NaN does not equal itself
            parts.append(f"{begins[0]}{_number(value)}\n")


def _add_distribution(parts: list[str], begins: tuple[str, ...], sample: HistogramSample, fraction: str) -> None:
    *buckets, of_sum, of_count = begins
    total = 0
    for begin, total in zip(buckets, accumulate(sample.counts), strict=True):
        parts.append(f"{begin}{total}{fraction}\n")
    parts.append(f"{of_sum}{_number(sample.sum)}\n{of_count}{total}{fraction}\n")


@lru_cache(maxsize=512)
def _known(family: Family) -> dict[tuple[str, ...], tuple[str, ...]]:  # noqa: ARG001 - the cache's key
    """By label values, what the lines of a sample of the family begin with."""
    return {}


def _remember(
    known: dict[tuple[str, ...], tuple[str, ...]], family: Family, labels: tuple[str, ...]
) -> tuple[str, ...]:
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[labels] = begins = _begins(family, labels)
    return begins


def _begins(family: Family, labels: tuple[str, ...]) -> tuple[str, ...]:
    """A sample's series, each with the space before its value: of a histogram its buckets, sum and count."""
    if family.kind != "histogram":
        return (_series(family.name, family.labels, labels),)
    bounds = (_number(bound) for bound in (*family.bounds, math.inf))
    return (
        *(_series(f"{family.name}_bucket", (*family.labels, "le"), (*labels, bound)) for bound in bounds),
        _series(f"{family.name}_sum", family.labels, labels),
        _series(f"{family.name}_count", family.labels, labels),
    )


def _series(name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = ",".join(f'{label}="{_quoted(value)}"' for label, value in zip(labels, values, strict=True))
    return f"{name}{{{pairs}}} " if pairs else f"{name} "


@lru_cache(maxsize=1024)
def _header(family: Family, openmetrics: bool) -> str:
    if not openmetrics:
        text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"
    name, kind = _openmetrics_name(family)
    unit = _unit(name)
    return f"# HELP {name} {_quoted(family.help)}\n# TYPE {name} {kind}\n" + (f"# UNIT {name} {unit}\n" if unit else "")


def _openmetrics_name(family: Family) -> tuple[str, str]:
    """Name and type of the family: OpenMetrics puts the suffix _total to the samples of a counter alone.

    A counter that is not called so (as node_exporter's are that keep the kernel's names) is of unknown type there,
    or its series would be called otherwise than in the text format. So is what the text format calls untyped, a word
    for which Prometheus refuses a whole scrape in OpenMetrics.
    """
    if family.kind != "counter":
        return family.name, "unknown" if family.kind == "untyped" else family.kind
    name = family.name.removesuffix("_total")
    return (name, "counter") if name != family.name else (name, "unknown")


def _unit(name: str) -> str:
    end = name.rpartition("_")[2]
    return end if end in _UNITS and name not in _WITHOUT_UNIT else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))
