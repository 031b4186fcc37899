"""Writer of the hub's /metrics page: Prometheus text format 0.0.4, and OpenMetrics 1.0 with exemplars.

A page may have 100,000 series, and prometheus_client takes two (text) to four times (OpenMetrics) as long to write it.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric

from foreshock_dashboard.ingest.span_metrics.histogram import Exemplar
from foreshock_dashboard.ingest.span_metrics.registry import Family, SeriesSamples
from foreshock_dashboard.model.samples import Sample
from foreshock_exporter.exposition.text_format import family_header, series_text, value_text

_TEXT_SUFFIXES = {"counter": "_total", "info": "_info"}
"""What the text format appends to the name of a family of this type."""


def render_series(series: Iterable[SeriesSamples], *, openmetrics: bool = False) -> str:
    """Return the series, sorted by family. In OpenMetrics they are the first part of a page, without `# EOF`."""
    blocks: dict[Family, list[str]] = {}
    for family, samples, exemplars in series:
        lines = blocks.setdefault(family, [])
        if openmetrics and exemplars:
            buckets = len(exemplars)
            lines += map(_with_exemplar, samples[:buckets], exemplars)
            samples = samples[buckets:]
        lines.extend(_line(sample) for sample in samples)
    page: list[str] = []
    for family in sorted(blocks):
        name = family.name.removesuffix("_total") if openmetrics and family.type == "counter" else family.name
        page += family_header(name, family.help, family.type, openmetrics=openmetrics), *blocks[family]
    return "".join(page)


def render_families(families: Iterable[Metric], *, openmetrics: bool = False) -> str:
    """Return families made with prometheus_client, the last part of a page."""
    page: list[str] = []
    for family in families:
        suffix = "" if openmetrics else _TEXT_SUFFIXES.get(family.type, "")
        type_ = "gauge" if suffix == "_info" else family.type
        page.append(family_header(family.name + suffix, family.documentation, type_, openmetrics=openmetrics))
        for sample in family.samples:
            series = series_text(sample.name, sorted(sample.labels.items()))
            page.append(f"{series} {value_text(sample.value)}\n")
    return "".join([*page, "# EOF\n"] if openmetrics else page)


def _with_exemplar(sample: Sample, exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return _line(sample)
    ids = series_text("", (("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)))
    return f"{_line(sample)[:-1]} # {ids} {exemplar.seconds!r} {exemplar.time!r}\n"


def _line(sample: Sample) -> str:
    return f"{series_text(sample.metric, sample.labels)} {value_text(sample.value)}\n"
