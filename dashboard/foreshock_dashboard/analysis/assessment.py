"""One grid point: which services are in trouble or about to be, which of them belong together, and where it began."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from foreshock_dashboard.analysis.finding import Finding
from foreshock_dashboard.analysis.risk import Own
from foreshock_dashboard.analysis.signals import Scan
from foreshock_dashboard.model.service import Service

ADVISE = 0.3
"""Chance of missing an objective from which a service is told of."""
PAGE = 0.6
"""The same from which somebody is to be woken."""
SURE = 0.5
"""Strength from which a finding counts."""
SLOWS = 1.25
"""Severity of contention from which it is told of: a quarter more time than usual."""
TAKES_DOWN = 2.0
"""Severity of what takes a service down by itself."""
FELT = 3.0
"""Scales from which a caller is said to feel its callee's trouble."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Services whose trouble is one.

    origin: where it begins. members: those in trouble or about to be, the origin first. felt: its callers, direct or
    through others, that are worse than usual, nearest first. missing: those of all that miss their objective. cause:
    the finding that explains it best, if any does. page: somebody is to be woken; urgent: at once. chance: of the
    origin's missing its objective, 0…1.
    """

    origin: Service
    members: tuple[Service, ...]
    felt: tuple[Service, ...]
    missing: tuple[Service, ...]
    cause: Finding | None
    page: bool
    urgent: bool
    chance: float


def troubles(scan: Scan, own: Mapping[Service, Own], found: Sequence[Finding]) -> tuple[Trouble, ...]:
    """Every group of services in trouble, the worst first."""
    strong = [each for each in found if each.strength >= SURE]
    by_service: dict[Service, list[Finding]] = {}
    for each in strong:
        by_service.setdefault(each.service, []).append(each)
    bad = {who for who, risk in own.items() if risk.chance >= ADVISE or risk.crowded} | by_service.keys()
    groups = _joined(scan, bad, strong)
    made = [_trouble(scan, members, own, by_service) for members in groups]
    return tuple(sorted(made, key=lambda each: (not each.page, -each.chance, each.origin)))


def _joined(scan: Scan, bad: Set[Service], found: Sequence[Finding]) -> list[Set[Service]]:
    """Connected components over calls between troubled services, and over what harms several of them."""
    root = {who: who for who in bad}

    def top(who: Service) -> Service:
        while root[who] != who:
            root[who] = root[root[who]]
            who = root[who]
        return who

    def join(one: Service, two: Service) -> None:
        if one in root and two in root:
            first, second = sorted((top(one), top(two)))
            root[second] = first

    for edge in scan.world.edges:
        join(edge.client, edge.server)
    for one in found:
        if one.culprit.service is not None:
            join(one.service, one.culprit.service)
        for two in found:
            if one.culprit == two.culprit:
                join(one.service, two.service)
    groups: dict[Service, set[Service]] = {}
    for who in bad:
        groups.setdefault(top(who), set()).add(who)
    return [groups[each] for each in sorted(groups)]


def _trouble(
    scan: Scan, members: Set[Service], own: Mapping[Service, Own], findings: Mapping[Service, Sequence[Finding]]
) -> Trouble:
    origin = _origin(scan, members, own, findings)
    above = upstream(scan, origin)
    felt = tuple(who for who in above if feels(scan, who, own))
    missing = tuple(who for who in (origin, *above) if who in own and own[who].missing)
    cause = _cause(origin, members, findings)
    risk = own.get(origin)
    chance = risk.chance if risk else 0.0
    heavy = cause is not None and cause.severity >= TAKES_DOWN and cause.urgent
    if cause is not None and heavy:
        chance = max(chance, cause.strength)
    if risk is not None and risk.crowded:
        chance = max(chance, PAGE)
    urgent = heavy or (risk is not None and risk.filled)
    return Trouble(
        origin=origin,
        members=(origin, *sorted(members - {origin})),
        felt=felt,
        missing=missing,
        cause=cause,
        page=urgent or _pages(scan, origin, above, felt, own, cause),
        urgent=urgent,
        chance=chance,
    )


def _pages(
    scan: Scan,
    origin: Service,
    above: Sequence[Service],
    felt: Sequence[Service],
    own: Mapping[Service, Own],
    cause: Finding | None,
) -> bool:
    """Whether somebody is to be woken: others are hit or are to be."""
    risk = own.get(origin)
    if risk is None:
        return False
    if risk.missing:
        return bool(felt) or not above
    if risk.crowded:
        return True
    explained = cause is not None and cause.cause in ("pool contention", "hardware", "network", "memory pressure")
    if explained and cause is not None and cause.severity >= SLOWS and scan.z("p95", origin) >= FELT:
        return True
    return risk.chance >= PAGE and explained


def upstream(scan: Scan, origin: Service) -> tuple[Service, ...]:
    """Who calls a service, directly or through others, nearest first."""
    found: list[Service] = []
    seen, frontier = {origin}, [origin]
    while frontier:
        nearer = sorted({caller for who in frontier for caller in scan.callers.get(who, ()) if caller not in seen})
        seen.update(nearer)
        found += nearer
        frontier = nearer
    return tuple(found)


def feels(scan: Scan, who: Service, own: Mapping[Service, Own]) -> bool:
    """Whether a service is worse than usual in what its callers see."""
    figures = (scan.z("p95", who), scan.z("failed", who), scan.z("flight", who))
    return (who in own and own[who].missing) or any(math.isfinite(z) and z >= FELT for z in figures)


def _origin(
    scan: Scan, members: Set[Service], own: Mapping[Service, Own], findings: Mapping[Service, Sequence[Finding]]
) -> Service:
    """The one that no other explains: it calls nobody in the group, and shows most."""

    def rank(who: Service) -> tuple[float, float, Service]:
        below = sum(callee in members for callee in scan.callees.get(who, ()))
        strongest = max((each.strength for each in findings.get(who, ())), default=0.0)
        shown = max(strongest, own[who].chance if who in own else 0.0)
        return (below, -shown, who)

    return min(members, key=rank)


def _cause(origin: Service, members: Set[Service], findings: Mapping[Service, Sequence[Finding]]) -> Finding | None:
    """The strongest finding about the origin; where there is none, about any of the others."""
    nearest = list(findings.get(origin, ())) or [each for who in members for each in findings.get(who, ())]
    return max(nearest, key=lambda each: (each.urgent, each.strength, -each.since), default=None)
