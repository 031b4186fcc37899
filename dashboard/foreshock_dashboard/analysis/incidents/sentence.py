"""What an incident says, in one sentence for somebody who was just woken up."""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.incident import AtRisk, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.units import clock, duration, gpu_list, percent

LIKELY = 0.5
"""Confidence from which a neighbour is said to starve a service, and not that it may."""
SOON = 900.0
"""Seconds within which it is said when somebody is hit."""


def sentence(incident: Incident, scan: Scan, *, calms: bool = False) -> str:
    """Who does what to whom, since when, how much, and who is next. calms: nothing of it is seen any more."""
    weak = not incident.victims  # nothing has happened that it could be since
    what = _what(incident, scan)
    parts = [what if weak else f"{what} since {clock(incident.since)} UTC"]
    figure = _figure(incident.service, scan)
    if calms:
        return f"{parts[0]}; it calms down{f': {figure}' if figure else ''}."
    if figure:
        parts.append(figure)
    hit = [str(who) for who in incident.slowed]
    if hit:
        parts.append(f"{_join(hit)} {'is' if len(hit) == 1 else 'are'} worse than usual too")
    if (following := _next(incident)) is not None:
        parts.append(f"next {following.service} in about {_about(following.p50)}")
    return "; ".join(parts) + "."


def _what(incident: Incident, scan: Scan) -> str:
    who, where = incident.service, incident.culprit
    by = where.service
    edge = f"{where.edge[0]} and {where.edge[1]}" if where.edge else where.host or str(who)
    match incident.cause:
        case "pool contention" if by is not None and by != who:
            return _starving(incident, by, scan)
        case "pool contention":
            return f"{who} fights for its GPUs"
        case "demand":
            soon = any(risk.service == who and 0 < risk.p50 < math.inf for risk in incident.at_risk)
            asked = "will soon be asked for more than it carries" if soon else "is asked for more than it carries"
            return f"{who} {asked}{f', most of it through {by}' if by and by != who else ''}"
        case "provisioning lag":
            return f"{who} is asked for more than its replicas carry, and new ones are late"
        case "retry storm" if incident.phase == "advisory":
            return f"A short loss of capacity would take {who} down for good by retries"
        case "retry storm":
            return f"Retries{f' of {where.edge[0]}' if where.edge else ''} keep {who} down"
        case "network":
            return f"Packets between {edge} are lost or late" if where.edge else f"The network of {edge} loses packets"
        case "memory pressure":
            return f"Longer requests{f' of {by}' if by and by != who else ''} fill the KV cache of {who}"
        case "imbalance":
            return f"One replica of {who} has more to do or is slower than the others"
        case "hardware" if not where.gpus and not where.host:
            return f"Replicas of {who} are lost"
        case "hardware":
            return f"{gpu_list(where.gpus) if where.gpus else f'Hardware of {who}'} is held back or failing"
        case _:
            return f"{by or who} is slow or failing"


def _starving(incident: Incident, by: Service, scan: Scan) -> str:
    """A neighbour takes the GPUs' time; whoever is on none of them has others wait by what it asks, of its kind where
    evidence tells that."""
    who, gpus, sure = incident.service, incident.culprit.gpus, incident.confidence >= LIKELY
    if not gpus or any(scan.world.tenants[row].gpu in gpus for row in scan.tenancies.get(by, ())):
        return f"{by} {'starves' if sure else 'may starve'} {who}{f' on {gpu_list(gpus)}' if gpus else ''}"
    kinds = [each.name.removeprefix("calls ") for each in incident.evidence if each.name.startswith("calls ")]
    what = f"{kinds[0]} from {by}" if kinds else f"what {by} asks"
    return f"{what} {'makes' if sure else 'may make'} other requests to {who} wait"


def _figure(who: Service, scan: Scan) -> str:
    p95, usual, failed = scan.value("p95", who), scan.level("p95", who), scan.value("failed", who)
    if failed >= 0.02:
        return f"{percent(failed)} of requests to {who} fail"
    if math.isfinite(p95) and math.isfinite(usual):
        return f"p95 of {who} {duration(p95)}, usually {duration(usual)}"
    return ""


def _next(incident: Incident) -> AtRisk | None:
    """The first who is to miss its objective and does not yet, if that is near."""
    return next((each for each in incident.at_risk if 0 < each.p50 <= SOON), None)


def _about(seconds: float) -> str:
    return f"{max(10, round(seconds, -1)):.0f} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _join(words: list[str]) -> str:
    if len(words) > 4:
        return f"{', '.join(words[:3])} and {len(words) - 3} more"
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
