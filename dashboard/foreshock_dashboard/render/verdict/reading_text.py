"""Readings beside their limits in words: p95 and error rate against the SLO, load against the safe limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.render.clause import in_sentence, in_words
from foreshock_dashboard.render.units import apart, duration, load_percent, multiple, percent, slo_name
from foreshock_dashboard.render.words.services import CONDITIONS


def value_text(reading: Reading, value: float, more: int = 0) -> str:
    """A value or limit of a reading: `14.6 s`, `46%`, of a load `> 100%`. more: further decimals, except of a load."""
    if reading.metric == "load":
        return load_percent(value)
    return duration(value, more) if reading.unit == "s" else percent(value, more)


def value_and_limit(reading: Reading) -> tuple[str, str]:
    """A value and its limit, with the decimals in which they differ."""
    return apart(reading.value, reading.limit, partial(value_text, reading))


def reading_text(reading: Reading, slo: ServiceSlo | None = None) -> str:
    """A value beside its limit: `p95 27.4 s (SLO 16.4 s)`. slo: of the limit, to say what a learned one is."""
    return f"{figure_text(reading)} ({explained_limit(reading, slo)})"


def explained_limit(reading: Reading, slo: ServiceSlo | None) -> str:
    """A limit with its kind, and of a learned SLO what it is: `learned SLO 16.4 s = 1.6x baseline`."""
    if slo is None or not slo.learned or reading.metric == "load":
        return limit_text(reading)
    name = limit_text(reading).replace("SLO", slo_name(learned=True), 1)
    if reading.metric == "error rate":
        margin = 100 * (slo.error_rate - slo.baseline_error_rate)
        return f"{name} = baseline + {margin:.1f} pp" if math.isfinite(margin) else name
    ratio = slo.seconds / slo.baseline_seconds
    return f"{name} = {multiple(ratio)}x baseline" if math.isfinite(ratio) else name


def figure_text(reading: Reading) -> str:
    """A value with its metric: `p95 27.4 s`, `load 81%`."""
    return f"{reading.metric} {value_and_limit(reading)[0]}"


def limit_text(reading: Reading) -> str:
    """A limit with its kind: `SLO 16.4 s`."""
    return f"{reading.limit_kind} {value_and_limit(reading)[1]}"


def lane_figures(found: Sequence[Reading]) -> Mapping[tuple[str, str], str]:
    """Values beside their SLOs by service and metric, for the lanes of a timeline.

    "SLO" stands for the metric that is closest to its SLO. "" stands for all that breach it, the furthest beyond it
    first: their present values do not show which of them began the breach.
    """
    rows = sorted((row for row in found if row.metric != "load"), key=lambda row: row.usage)
    texts = {(row.service, str(row.metric)): reading_text(row) for row in rows}
    texts |= {(row.service, "SLO"): reading_text(row) for row in rows}
    breached: dict[str, list[str]] = {}
    for row in reversed(rows):
        if row.status == "critical":
            breached.setdefault(row.service, []).append(reading_text(row))
    return texts | {(service, ""): ", ".join(own) for service, own in breached.items()}


def risk_reason(reading: Reading | None, callee: Service | None, state: str = "", *, is_suspect: bool) -> str:
    """Why a service is at risk: `suspected cause; calls serving/gateway`, or `p95 48 ms, SLO 50 ms`; "" if unknown.

    reading: the metric to name; without it, state: that it is degraded; else the service of the incident that it calls.
    """
    why = state or (f"calls {in_words(callee)}" if callee else "")
    why = f"{figure_text(reading)}, {limit_text(reading)}" if reading else why
    return "; ".join(filter(None, (in_sentence(CONDITIONS["suspected_cause"]) if is_suspect else "", why)))
