"""The sentences of the Now page, from typed values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.render.clause import Clause, Text, joined, joined_text, place, text, time
from foreshock_dashboard.render.units import (
    apart,
    duration,
    elapsed,
    estimate,
    load_name,
    load_percent,
    percent,
    rate,
)
from foreshock_dashboard.render.words.incidents import SEVERITIES, STATES
from foreshock_dashboard.web.pages.now.course import Breach, Peak, Recovery
from foreshock_dashboard.web.pages.now.healthy import Exceedance, HealthySince
from foreshock_dashboard.web.pages.now.impact import Impact
from foreshock_dashboard.web.panels.limits import Reading

JUST_NOW_SECONDS = 10.0


def value_text(reading: Reading, value: float, more: int = 0) -> str:
    """A value or limit of a reading: `14.6 s`, `46%`, `> 3x capacity`. more: further decimals, except of a load."""
    if reading.metric == "load":
        return load_percent(value)
    return duration(value, more) if reading.unit == "s" else percent(value, more)


def _value_and_limit(reading: Reading) -> tuple[str, str]:
    return apart(reading.value, reading.limit, partial(value_text, reading))


def reading_text(reading: Reading) -> str:
    """A value beside its limit: `p95 27.4 s (SLO 16.4 s)`."""
    return f"{figure_text(reading)} ({limit_text(reading)})"


def figure_text(reading: Reading) -> str:
    """A value with its metric: `p95 27.4 s`, `load including queue > 3x capacity`."""
    name = load_name(reading.value) if reading.metric == "load" else reading.metric
    return f"{name} {_value_and_limit(reading)[0]}"


def limit_text(reading: Reading) -> str:
    """A limit with its kind: `SLO 16.4 s`."""
    return f"{reading.limit_kind} {_value_and_limit(reading)[1]}"


def headline_figure(reading: Reading, peak: Peak | None) -> str:
    """The figure of the headline; of a recovery, beside the baseline and the worst value."""
    if peak is None or peak.metric != reading.metric or peak.before is None:
        return reading_text(reading)
    before, worst = value_text(reading, peak.before), value_text(reading, peak.peak)
    return f"{reading.metric} {value_text(reading, reading.value)} (baseline {before}, peak {worst})"


def badge(item: Incident, breached: Breach | None) -> tuple[str, str]:
    """Severity and state, `Critical · firing` or `Recovering`, and for the latter whether the SLO was breached."""
    if item.state != "recovering":
        return f"{SEVERITIES[item.severity]} · {STATES[item.state]}", ""
    lasts = "still in SLO breach" if breached and breached.until is None else "SLO breach ended"
    return "Recovering", lasts if breached else "no SLO breach"


def lead(
    reading: Reading | None,
    peak: Peak | None,
    breached: Breach | None,
    impact: Impact | None,
    onset: float,
    now: float,
) -> Text:
    """How bad an incident is: its SLO breach, and the requests it cost.

    reading: of a forecast. onset: of the incident; onset, now: Unix seconds.
    """
    limit = "" if peak is None or peak.limit is None else f" (SLO {_peak_value(peak, peak.limit)})"
    parts = (
        text(reading_text(reading)) if reading else (),
        text(f"{peak.metric} stayed within its SLO{limit}") if peak and not breached and limit else (),
        breach_text(breached, now) if breached else (),
        impact_text(impact, breached, onset) if impact else (),
    )
    return text(*(part for sentence in parts if sentence for part in (sentence, ". ")))


def _peak_value(peak: Peak, value: float) -> str:
    return duration(value) if peak.unit == "s" else percent(value)


def breach_text(breached: Breach, now: float) -> Text:
    """Since when an SLO is breached: `In breach since 08:46:50 (3 min 10 s; first breached 08:45:00 for 30 s)`."""
    before = "before " if breached.earlier else ""
    if breached.until is not None:
        length = f" ({'over ' if before else ''}{elapsed(breached.until - breached.since)})"
        return text(f"In breach from {before}", time(breached.since), " to ", time(breached.until), length)
    if breached.steady_since is not None:
        length = elapsed(now - breached.steady_since)
        first = text(f"; first breached {before}", time(breached.since), f" for {elapsed(breached.first_seconds)}")
        return text("In breach since ", time(breached.steady_since), f" ({length}", first, ")")
    seconds = now - breached.since
    is_new = not breached.earlier and seconds < JUST_NOW_SECONDS
    length = "just now" if is_new else f"{'over ' if before else ''}{elapsed(seconds)}"
    return text(f"In breach since {before}", time(breached.since), f" ({length})")


def impact_text(impact: Impact, breached: Breach | None, onset: float) -> Text:
    """The requests that failed or were too slow: `About 1,300 of 2,800 requests have been too slow since 08:45:00 UTC`.

    onset: of the incident, Unix seconds, since which they are counted without a breach.
    """
    bad = impact.failed + impact.slow
    who = f"{f'About {estimate(bad)}' if bad >= 1 else 'None'} of {estimate(impact.requests)} requests"
    kind = "failed" if impact.slow < 1 <= bad else "slow" if impact.failed < 1 <= bad else ""
    if breached and breached.until is not None:
        were = {"failed": "failed", "slow": "were too slow"}.get(kind, "failed or were too slow")
        return text(f"{who} {were} in that time")
    been = {"failed": "failed", "slow": "been too slow"}.get(kind, "failed or been too slow")
    has = "has" if estimate(bad) in ("0", "1") else "have"
    return text(f"{who} {has} {been} since ", time(breached.since if breached else onset))


def recovery_text(found: Sequence[Recovery]) -> Text:
    """Why an incident recovers: `request rate of product/assistant 14 req/s → 8 req/s (peak → now)`."""
    parts: list[str | Clause] = []
    for row in found:
        name = Clause(row.service, "service", (row.service,))
        if row.signal == "request rate":
            change = f"{rate(row.worst)} → {rate(row.now)} (peak → now)"
        else:
            change = f"{row.worst:.0f} → {row.now:.0f} (lowest → now)"
        parts += ["; " if parts else "", f"{row.signal} of ", name, f" {change}"]
    return text(*parts)


def recovering_action(resolves: float | None) -> Text:
    """What to do while an incident recovers. resolves: Unix seconds."""
    closes = text(". Closes automatically at about ", time(resolves), " if symptoms do not return") if resolves else ()
    return text("None needed now", closes)


def healthy_facts(
    healthy: HealthySince | None, closest: Sequence[Reading], now: float, *, has_risk: bool
) -> Iterator[tuple[str, Text]]:
    """The facts of a healthy platform, each with its label. has_risk: whether there is a latent risk."""
    if healthy is not None:
        optional = text(". Optional: ", Clause("reduce the latent risk", "evidence")) if has_risk else ()
        yield "Action", text("None needed now", optional)
        length = elapsed(now - healthy.at)
        if healthy.at_least:
            yield "SLO breaches", text(f"No SLO breach in the last {length}")
        else:
            yield "Healthy since", text(time(healthy.at), f" ({length})")
    if closest:
        reading = closest[0]
        name = Clause(reading.service, "service", (reading.service,))
        yield "Closest to its limit", text(name, f" {reading_text(reading)}")


def no_changes(untracked: Sequence[str], services: int) -> str:
    """That no change is known. untracked: those of the services whose changes are not known."""
    if not untracked:
        return "None in the 30 min before the first anomaly"
    gap = f"No change data for {joined_text(joined(map(place, untracked)))}: check your deploy log."
    return gap if len(untracked) == services else f"{gap} None recorded for other services."


def uncounted_text(found: Exceedance) -> Text:
    """Why a p95 above the SLO is no breach of it."""
    name = Clause(found.service, "service", (found.service,))
    above = text(name, f" p95 was above its SLO for {elapsed(found.seconds)} from ", time(found.since))
    return text(above, f", with too few requests to count as a breach ({_counts(found)}).")


def too_few_text(found: Exceedance) -> str:
    """The same in short, beside the service."""
    return f"p95 was above SLO for {elapsed(found.seconds)}, with too few requests to count ({_counts(found)})"


def _counts(found: Exceedance) -> str:
    return f"up to {estimate(found.requests)} per minute then, {estimate(found.needed)} needed"
