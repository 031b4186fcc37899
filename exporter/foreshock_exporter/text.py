"""The Prometheus text exposition format 0.0.4, written fast: a scrape of 8 GPUs is several hundred lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from foreshock_exporter.names import Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """A value and its label values, in the order of the family's labels."""

    labels: tuple[str, ...]
    value: float


Exposition = Sequence[tuple[Family, Sequence[Sample]]]


def render(exposition: Exposition) -> bytes:
    """Families with their samples as exposition text. Families without samples and values that are NaN are left out."""
    lines: list[str] = []
    for family, samples in exposition:
        if samples:
            lines.append(_header(family))
            lines.extend(_lines(family, samples))
    return "".join(lines).encode()


def _lines(family: Family, samples: Iterable[Sample]) -> list[str]:
    return [f"{_series(family, labels)} {_number(value)}\n" for labels, value in samples if not math.isnan(value)]


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
