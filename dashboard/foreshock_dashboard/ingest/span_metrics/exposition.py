"""Counters and histograms written as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.ingest.span_metrics.histogram import Exemplar
from foreshock_dashboard.ingest.span_metrics.registry import Family, Reading
from foreshock_dashboard.model.samples import Labels, Sample


def text_of(readings: Iterable[Reading], *, openmetrics: bool = False) -> str:
    """The page, family by family.

    openmetrics: with exemplars, and without the last line, `# EOF`: others may have something to add.
    """
    blocks: dict[Family, list[str]] = {}
    for family, samples, exemplars in readings:
        lines = blocks.setdefault(family, [])
        if openmetrics and exemplars:
            buckets = len(exemplars)
            lines += map(_with_exemplar, samples[:buckets], exemplars)
            samples = samples[buckets:]
        lines.extend(_line(sample) for sample in samples)
    return "".join(_head(family, openmetrics=openmetrics) + "".join(blocks[family]) for family in sorted(blocks))


def _head(family: Family, *, openmetrics: bool) -> str:
    name = family.name.removesuffix("_total") if openmetrics and family.type == "counter" else family.name
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"


def _with_exemplar(sample: Sample, exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return _line(sample)
    ids = _labels((("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)))
    return f"{_line(sample)[:-1]} # {ids} {exemplar.seconds!r} {exemplar.time!r}\n"


def _line(sample: Sample) -> str:
    return f"{sample.metric}{_labels(sample.labels)} {sample.value!r}\n"


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
