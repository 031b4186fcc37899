"""The Prometheus text exposition format 0.0.4, written fast: a scrape of 8 GPUs is several hundred lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from foreshock_exporter.family import Distribution, Emitted, Family, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(exposition: Emitted) -> bytes:
    """Families with their samples as exposition text. Families without samples and values that are NaN are left out."""
    lines: list[str] = []
    for family, samples in exposition:
        if samples:
            lines.append(_header(family))
            lines.extend(_lines(family, samples))
    return "".join(lines).encode()


def _lines(family: Family, samples: Sequence[Sample] | Sequence[Distribution]) -> Iterable[str]:
    for sample in samples:
        if isinstance(sample, Distribution):
            yield from _distribution(family, sample)
        elif not math.isnan(sample.value):
            yield f"{_series(family, sample.labels)} {_number(sample.value)}\n"


def _distribution(family: Family, sample: Distribution) -> Iterator[str]:
    total = 0
    for part, count in zip(_parts(family), sample.counts, strict=True):
        bound, bucket = part
        total += count
        yield f"{_series(bucket, (*sample.labels, bound))} {total}.0\n"
    of_sum, of_count = _ends(family)
    yield f"{_series(of_sum, sample.labels)} {_number(sample.sum)}\n"
    yield f"{_series(of_count, sample.labels)} {total}.0\n"


@lru_cache(maxsize=64)
def _parts(family: Family) -> tuple[tuple[str, Family], ...]:
    """Each bound as the value of `le`, with the family of the bucket's series."""
    bucket = Family(f"{family.name}_bucket", "counter", (*family.labels, "le"), "")
    return tuple((_number(bound), bucket) for bound in (*family.bounds, math.inf))


@lru_cache(maxsize=64)
def _ends(family: Family) -> tuple[Family, Family]:
    return (
        Family(f"{family.name}_sum", "counter", family.labels, ""),
        Family(f"{family.name}_count", "counter", family.labels, ""),
    )


@lru_cache(maxsize=1024)
def _header(family: Family) -> str:
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"


@lru_cache(maxsize=16_384)
def _series(family: Family, labels: tuple[str, ...]) -> str:
    if not labels:
        return family.name
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(family.labels, labels, strict=True))
    return f"{family.name}{{{pairs}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))
