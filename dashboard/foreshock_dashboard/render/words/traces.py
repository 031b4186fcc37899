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
    "not_read": "GPU wait is known {seconds} s after the end of a trace.",
    "wait_unknown": "GPU wait unknown: {reason}.",
    "not_final": "GPU wait is not final: the last GPU samples are still arriving.",
    "no_shared_gpu": "No span ran on a shared GPU.",
    "outlasting": "GPU work continued after the client had an answer or timed out.",
    "outlasting_counts": "GPU work that outlasts the client's duration counts as wait, too.",
    "slowest_only": "GPU wait computed for the {count} slowest traces only. Choose a shorter time range.",
    "examined": "From the {count} slowest traces.",
    "samples_not_read": "GPU samples of {minutes} not read (limit reached).",
    "bar_height": "Bar height: share of the GPU.",
    "inferred": "Hatched: inferred from counters, a mean over their scrape interval.",
    "unplaced": "GPU wait (its time within the span is unknown)",
    "wait_of": "GPU wait up to {wait} of {total} of GPU work",
    "unsearchable": "this source cannot search for {attribute}",
    "root_missing": "root span missing",
    "parent_missing": "parent span missing",
    "clamped": "end before start (clock error): shown as 0 s",
    "clear_filters": "Clear the filters, or choose a longer time range.",
    "send_spans": "Choose a longer time range, or send spans by OTLP.",
}
"""Texts of the list of traces and of one trace. `{names}` in braces stand for values."""
