"""Writer of the Prometheus text format 0.0.4 and OpenMetrics 1.0, with cached line prefixes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

MAX_CACHED_LABEL_SETS = 2048
"""Cached label sets per family; when exceeded, the cache of the family is cleared."""
_UNITS = ("seconds", "bytes", "ratio", "celsius", "joules", "hertz", "watts")
_WITHOUT_UNIT = ("node_network_speed_bytes",)
"""Names with a unit suffix that is not their unit: bytes per second."""


def family_header(name: str, description: str, kind: str, *, openmetrics: bool = False) -> str:
    """HELP and TYPE lines of a family."""
    text = _escaped(description) if openmetrics else description.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def series_text(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """Series as `name{label="value"}`, without braces if there are no labels."""
    pairs = ",".join([f'{label}="{_escaped(value)}"' for label, value in labels])
    return f"{name}{{{pairs}}}" if pairs else name


def value_text(value: float) -> str:
    """Value in shortest decimal form, or NaN, +Inf, -Inf."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def render(exposition: Families, openmetrics: bool = False) -> bytes:
    """Families as exposition text. Families without samples and NaN values are left out.

    Args:
        exposition: families, each at most once.
        openmetrics: whether to write OpenMetrics 1.0 instead of the text format.
    """
    parts: list[str] = []
    for family, samples in exposition:
        if samples:
            parts.append(_header(family, openmetrics))
            _append_samples(parts, family, samples, openmetrics)
    if openmetrics:
        parts.append("# EOF\n")
    return "".join(parts).encode(errors="replace")


def _append_samples(
    parts: list[str], family: Family, samples: Iterable[Sample | HistogramSample], openmetrics: bool
) -> None:
    """Append the lines of the samples. Hot loop: prefixes are cached and only the number is formatted."""
    prefixes_by_labels = _prefix_cache(family)
    for sample in samples:
        labels = sample.labels
        prefixes = prefixes_by_labels.get(labels) or _cache_prefixes(prefixes_by_labels, family, labels)
        if isinstance(sample, HistogramSample):
            _append_histogram(parts, prefixes, sample, "" if openmetrics else ".0")
            continue
        value = sample.value
        if value - value == 0.0:
            parts.append(f"{prefixes[0]}{float(value)!r}\n")
        elif value == value:  # an infinity; a NaN does not equal itself
            parts.append(f"{prefixes[0]}{value_text(value)}\n")


def _append_histogram(parts: list[str], prefixes: tuple[str, ...], sample: HistogramSample, fraction: str) -> None:
    *buckets, sum_prefix, count_prefix = prefixes
    total = 0
    for prefix, total in zip(buckets, accumulate(sample.counts), strict=True):
        parts.append(f"{prefix}{total}{fraction}\n")
    parts.append(f"{sum_prefix}{value_text(sample.sum)}\n{count_prefix}{total}{fraction}\n")


@lru_cache(maxsize=512)
def _prefix_cache(family: Family) -> dict[tuple[str, ...], tuple[str, ...]]:  # noqa: ARG001 - the cache's key
    """Line prefixes of a family by label values."""
    return {}


def _cache_prefixes(
    prefixes_by_labels: dict[tuple[str, ...], tuple[str, ...]], family: Family, labels: tuple[str, ...]
) -> tuple[str, ...]:
    if len(prefixes_by_labels) >= MAX_CACHED_LABEL_SETS:
        prefixes_by_labels.clear()
    prefixes_by_labels[labels] = prefixes = _line_prefixes(family, labels)
    return prefixes


def _line_prefixes(family: Family, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Line prefixes of a sample up to the value; for a histogram of its buckets, sum, and count."""
    pairs = tuple(zip(family.labels, labels, strict=True))
    if family.kind != "histogram":
        return (f"{series_text(family.name, pairs)} ",)
    bounds = (value_text(bound) for bound in (*family.bounds, math.inf))
    return (
        *(f"{series_text(f'{family.name}_bucket', (*pairs, ('le', bound)))} " for bound in bounds),
        f"{series_text(f'{family.name}_sum', pairs)} ",
        f"{series_text(f'{family.name}_count', pairs)} ",
    )


@lru_cache(maxsize=1024)
def _header(family: Family, openmetrics: bool) -> str:
    if not openmetrics:
        return family_header(family.name, family.help, family.kind)
    name, kind = _openmetrics_name(family)
    unit = _unit(name)
    header = family_header(name, family.help, kind, openmetrics=True)
    return f"{header}# UNIT {name} {unit}\n" if unit else header


def _openmetrics_name(family: Family) -> tuple[str, str]:
    """Name and type in OpenMetrics, which adds `_total` to the samples of a counter.

    A counter without that suffix (some of node_exporter's) has type unknown, so that its series keep their name.
    `untyped` is unknown as well: Prometheus rejects an OpenMetrics scrape with that word.
    """
    if family.kind != "counter":
        return family.name, "unknown" if family.kind == "untyped" else family.kind
    name = family.name.removesuffix("_total")
    return (name, "counter") if name != family.name else (name, "unknown")


def _unit(name: str) -> str:
    suffix = name.rpartition("_")[2]
    return suffix if suffix in _UNITS and name not in _WITHOUT_UNIT else ""
