"""Words of traces: what takes their time, how far their GPU wait is known, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.types import Activity

ACTIVITIES: Mapping[Activity, str] = {
    "work": "self time",
    "queue": "queue time",
    "failed_calls": "failed calls",
}
"""What a part of a trace's duration is."""
TRACE_TEXTS: Mapping[str, str] = {
    "in_service": "{activity} in {service}",
    "not_read": "GPU wait becomes available {seconds} s after a trace ends.",
    "wait_unknown": "GPU wait unknown: {reason}.",
    "not_final": "GPU wait is not final: the last GPU samples are still arriving.",
    "no_shared_gpu": "No span ran on a shared GPU.",
    "outlasting": "GPU work continued after the client received a response or timed out.",
    "outlasting_counts": "GPU wait also includes GPU work that continued after the client span ended.",
    "slowest_only": "GPU wait is computed only for the {count} slowest traces. Choose a shorter time range.",
    "examined": "Selected from the {count} slowest traces.",
    "samples_not_read": "GPU samples for {minutes} were not read (limit reached).",
    "bar_height": "Bar height: share of the GPU.",
    "inferred": "Hatched: inferred from counters, averaged over their scrape interval.",
    "unplaced": "GPU wait (position within the span unknown)",
    "wait_of": "GPU wait up to {wait} in {total} of GPU work",
    "unsearchable": "this source cannot search by {attribute}",
    "root_missing": "root span missing",
    "parent_missing": "parent span missing",
    "clamped": "end before start (clock error): shown as 0 s",
    "clear_filters": "Clear the filters, or choose a longer time range.",
    "send_spans": "Choose a longer time range, or send spans over OTLP.",
}
"""Texts of the list of traces and of one trace. `{names}` in braces stand for values."""
