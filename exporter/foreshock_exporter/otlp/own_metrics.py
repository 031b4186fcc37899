"""Metric families of the OTLP pushes. docs/metrics.md is compared with this module."""

from __future__ import annotations

from foreshock_exporter.model.family import Family

OTLP_PUSHED = Family(
    "foreshock_exporter_otlp_pushed_total",
    "counter",
    ("signal",),
    "Data points (signal metrics) and spans (signal traces) that the OTLP endpoint took.",
)
OTLP_FAILED = Family(
    "foreshock_exporter_otlp_failed_total",
    "counter",
    ("signal",),
    "Data points and spans that were sent to the OTLP endpoint in vain; they are lost.",
)
OTLP_SPANS_DROPPED = Family(
    "foreshock_exporter_otlp_spans_dropped_total",
    "counter",
    ("reason",),
    "Occupancy spans that were not sent: more than allowed of one GPU (rate), or more waiting than allowed (queue).",
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All families of this module."""

SOURCES: dict[Family, str] = dict.fromkeys(FAMILIES, "itself")
"""Origin of each metric."""
