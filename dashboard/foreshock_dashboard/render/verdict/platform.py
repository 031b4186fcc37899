"""A platform without an incident in sentences: since when it is healthy, on which data that rests, or why unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.healthy import Coverage, Ended, Exceedance, HealthySince
from foreshock_dashboard.model.verdict.reading import Reading, SloStatus
from foreshock_dashboard.render.clause import Clause, Text, filled, joined, listed, place, sentences, text, time
from foreshock_dashboard.render.incident_summary import BREACHES_SLO
from foreshock_dashboard.render.units import counted, elapsed, estimate, plural
from foreshock_dashboard.render.verdict.reading_text import reading_text
from foreshock_dashboard.render.words.panels import NOW_TEXTS
from foreshock_dashboard.render.words.services import SLO_COUNTS
from foreshock_dashboard.render.words.status import DATA_STATES

HEALTHY_AFTER: Mapping[Ended, str] = {
    "early_warning": "the last early warning",
    "incident": "the last incident",
    "breach": "the last SLO breach",
}
"""What ended when the platform became healthy."""


def in_breach(services: Sequence[Service], tracked: int) -> Text:
    """`2 of 14 services are breaching their SLO: a, b`. tracked: services with an SLO and data."""
    verb = plural(len(services), "is breaching its", "are breaching their")
    return text(f"{len(services)} of {counted(tracked, 'service')} {verb} SLO: ", listed(services))


def within_slo(status: SloStatus) -> tuple[str, str]:
    """That no service breaches its SLO, and the counts behind it, where these say more."""
    if status.is_all_within:
        return slo_summary(status), ""
    return f"No service {BREACHES_SLO}", slo_summary(status)


def slo_summary(status: SloStatus) -> str:
    """`All 14 services within SLO`; else their number by state: `10 of 14 services within SLO, 3 without an SLO`.

    A service that is degraded or at risk is still within its SLO: `SLO status: 5 breached, 5 within SLO (2 degraded)`.
    """
    rest = _by_state(status, "few", "without", "unknown")
    total = status.within + status.few + status.without + status.unknown
    breached, troubled = _by_state(status, "breached"), _by_state(status, "degraded", "at_risk")
    if breached or troubled:
        count = status.within + status.degraded + status.at_risk
        of_them = f" ({', '.join(troubled)})" if troubled else ""
        within = [f"{count} {SLO_COUNTS['within']}{of_them}"] if count else []
        return f"SLO status: {', '.join([*breached, *within, *rest])}"
    if status.is_all_within:
        return f"All {counted(total, 'service')} within SLO"
    if not status.within and len(rest) == 1:
        return f"{counted(total, 'service')} {rest[0].split(' ', 1)[1]}"
    return ", ".join([f"{status.within} of {counted(total, 'service')} within SLO", *rest])


def _by_state(status: SloStatus, *names: str) -> list[str]:
    """The counts that are not zero: `1 with low traffic`."""
    return [f"{count} {SLO_COUNTS[name]}" for name in names if (count := getattr(status, name))]


def cluster_summary(counts: Mapping[str, tuple[int, int]]) -> str:
    """`By cluster: eu 10 services, 1 in breach; us 3 services.`; "" without clusters.

    counts: services by cluster, and those of them in breach.
    """
    parts = (
        f"{cluster} {counted(count, 'service')}{f', {breached} in breach' if breached else ''}"
        for cluster, (count, breached) in counts.items()
    )
    return f"By cluster: {'; '.join(parts)}." if counts else ""


def healthy_facts(
    healthy: HealthySince | None, closest: Sequence[Reading], now: float, *, none_at_risk: bool = False
) -> Iterator[tuple[str, Text]]:
    """The facts of a healthy platform, each with its label. none_at_risk: no SLO breach is forecast."""
    if healthy is not None:
        yield "Action", text("None now")
        length = elapsed(now - healthy.at)
        if healthy.at_least:
            yield "SLO breaches", text(f"None in the last {length}")
        else:
            ended = f", when {HEALTHY_AFTER[healthy.ended]} ended" if healthy.ended else ""
            yield "Healthy since", text(time(healthy.at), f" ({length} ago){ended}")
    if none_at_risk:
        yield NOW_TEXTS["next_at_risk"], text(NOW_TEXTS["none_at_risk"])
    if closest:
        yield "Closest to its limit", text(_service(closest[0].service), f" {reading_text(closest[0])}")


def closest_before(reading: Reading | None, seconds: float) -> Iterator[tuple[str, Text]]:
    """The fact that a service was closer to its limit in the last seconds than it is now, with its label."""
    if reading is not None:
        peak = f" peak {reading_text(reading)} in the last {elapsed(seconds)}"
        yield "Closest call", text(_service(reading.service), peak)


def uncounted(found: Sequence[Exceedance]) -> Iterator[tuple[str, Text]]:
    """Why p95 above the SLO of some services is no breach of it, with the label."""
    if found:
        parts = (
            text(
                _service(each.service),
                f" p95 was above its SLO for {elapsed(each.seconds)} from ",
                time(each.since),
                f", with too few requests to count ({_requests(each)})",
            )
            for each in found
        )
        yield "Not counted", joined(parts, "; ")


def too_few_text(found: Exceedance) -> str:
    """The same in short, beside the service."""
    return f"p95 was above its SLO for {elapsed(found.seconds)}, with too few requests to count ({_requests(found)})"


def _requests(found: Exceedance) -> str:
    return f"up to {estimate(found.requests)} per minute, {estimate(found.needed)} needed"


def _service(name: str) -> Clause:
    return Clause(name, "service", (name,))


def coverage_text(seen: Coverage) -> Text:
    """The data on which a healthy verdict rests: what reports, what cannot be judged, and where SLOs come from."""
    sources = ((seen.fresh_targets, seen.targets, "scrape target"), (seen.fresh_gpus, seen.gpus, "GPU"))
    shown = [f"{fresh} of {counted(count, noun)}" for fresh, count, noun in sources if count]
    all_learned = seen.learned_slos == seen.slos
    learned = f"{'' if all_learned else f'{seen.learned_slos} of {seen.slos} '}learned (at least 1.6x baseline p95)"
    return sentences(
        text(f"Data from {' and '.join(shown)}") if shown else (),
        text("Low traffic, not judged: ", listed(seen.low_traffic)) if seen.low_traffic else (),
        text(f"SLOs: {learned if seen.learned_slos else 'configured'}") if seen.slos else (),
    )


def no_data(source: str, since: float | None) -> Text:
    """Why nothing is known; empty without a source. since: Unix seconds of its last data."""
    if not source:
        return ()
    if since is None:
        return filled(DATA_STATES["no_samples"], kind=source)
    return filled(DATA_STATES["no_fresh_samples"], kind=source, time=time(since))


def not_fresh(noun: str, names: Sequence[str], count: int) -> Text:
    """`No fresh data from 2 of 4 GPUs: a, b.`; empty without names."""
    start = f"No fresh data from {len(names)} of {count} {plural(count, noun)}: "
    return text(start, listed(list(map(place, names))), ".") if names else ()
