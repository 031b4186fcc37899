"""One grid point: which services are in trouble or about to be, which of them belong together, and where it began."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import ENOUGH, LASTING, Own
from foreshock_dashboard.model.incident import Culprit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

ADVISORY_CHANCE = 0.3
"""Chance of missing an objective from which a service is told of."""
PAGE_CHANCE = 0.6
"""The same from which somebody is to be woken."""
FINDING_STRENGTH = 0.5
"""Strength from which a finding counts."""
CONTENTION_SEVERITY = 1.25
"""Severity of contention from which it is told of: a quarter more time than usual."""
OUTAGE_SEVERITY = 2.0
"""Severity of what takes a service down by itself."""
CALLEE_SHARE = 0.3
"""Share of a callee's extra seconds that a caller shows at least where they are its trouble."""
VISIBLE_FAILED_RATIO = 0.02
"""Share of failed requests above the usual from which somebody is said to fail."""
ORIGIN_SHARE = 0.1
"""Part of a caller's extra seconds, or failures, that the origin of its trouble shows at least."""
RELEVANT_SHARE = 0.05
"""Extra seconds of a callee, as a share of what its callers usually take, from which they are anybody's business."""
BRIEF_SECONDS = 120.0
"""Seconds for which slowness may be one that goes by and leaves its retries behind; later it is the trouble itself."""
AFFECTED_Z = 3.0
"""Scales from which a caller is said to feel its callee's trouble."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Services whose trouble is one.

    origin: where it begins. members: those in trouble or about to be, the origin first. felt: its callers, direct or
    through others, that are worse than usual, nearest first. missing: those of all that miss their objective. cause:
    the finding that explains it best, if any does. page: somebody is to be woken; urgent: at once. crowded: more is
    asked of the origin than it carries; heavy: the cause takes it down by itself. chance: of the origin's missing its
    objective, 0…1.
    """

    origin: Service
    members: tuple[Service, ...]
    felt: tuple[Service, ...]
    missing: tuple[Service, ...]
    cause: Finding | None
    page: bool
    urgent: bool
    crowded: bool
    heavy: bool
    chance: float


def troubles(
    scan: Scan, own: Mapping[Service, Own], found: Sequence[Finding], weak: Mapping[Service, Finding]
) -> tuple[Trouble, ...]:
    """Every group of services in trouble, the worst first. weak: what retries would keep down once it is down."""
    strong = [each for each in found if each.strength >= FINDING_STRENGTH]
    by_service: dict[Service, list[Finding]] = {}
    for each in strong:
        by_service.setdefault(each.service, []).append(each)
    shown = {
        who for who, risk in own.items() if risk.crowded or (risk.chance >= ADVISORY_CHANCE and is_relevant(scan, who))
    }
    bad = shown | by_service.keys()
    unsure: dict[Service, list[Finding]] = {}
    for each in found:
        unsure.setdefault(each.service, []).append(each)
    groups = _joined(scan, bad, strong)
    worse = {who for who in scan.world.services if is_affected(scan, who, own)} if groups else set()
    made = [_trouble(scan, members, own, worse, by_service, unsure, weak) for members in groups]
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
    harmed: dict[Culprit, Service] = {}
    for each in found:
        if each.culprit.service is not None:
            join(each.service, each.culprit.service)
        join(each.service, harmed.setdefault(each.culprit, each.service))
    groups: dict[Service, set[Service]] = {}
    for who in bad:
        groups.setdefault(top(who), set()).add(who)
    return [groups[who] for who in sorted(groups)]


def _trouble(
    scan: Scan,
    members: Set[Service],
    own: Mapping[Service, Own],
    worse: Set[Service],
    findings: Mapping[Service, Sequence[Finding]],
    unsure: Mapping[Service, Sequence[Finding]],
    weak: Mapping[Service, Finding],
) -> Trouble:
    origin = _origin(scan, members, own, findings)
    above = scan.upstream[origin]
    felt = tuple(who for who in above if who in worse and propagates(scan, origin, who))
    missing = tuple(who for who in (origin, *above) if who in own and own[who].missing)
    cause = _cause(origin, members, findings) or _likeliest(origin, unsure)
    if origin in weak and (cause is None or (_of_origin(cause, origin) and scan.time - cause.since < BRIEF_SECONDS)):
        cause = weak[origin]
    risk = own.get(origin)
    chance = risk.chance if risk else 0.0
    heavy = (
        cause is not None and cause.severity >= OUTAGE_SEVERITY and cause.urgent and cause.strength >= FINDING_STRENGTH
    )
    if cause is not None and cause.cause == "dependency":
        heavy = heavy and bool(felt)
    if cause is not None and heavy:
        chance = max(chance, cause.strength)
    if risk is not None and risk.crowded:
        chance = max(chance, PAGE_CHANCE)
    urgent = heavy or (risk is not None and risk.crowded)  # its means have waited long enough
    return Trouble(
        origin=origin,
        members=(origin, *sorted(members - {origin})),
        felt=felt,
        missing=missing,
        cause=cause,
        page=urgent or _pages(scan, origin, above, felt, own, cause),
        urgent=urgent,
        crowded=risk is not None and risk.crowded,
        heavy=heavy,
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
    explained = (
        cause is not None
        and cause.strength >= FINDING_STRENGTH
        and cause.cause in ("pool contention", "hardware", "network", "memory pressure")
        and scan.value("rate", origin) * LASTING >= ENOUGH
    )
    if risk.missing:
        return bool(felt) or not above or explained
    if lacks_baseline(scan, origin) and any(who in own and own[who].missing for who in felt):
        return True  # they have the only objective that there is
    if risk.crowded:
        return True
    if (
        explained
        and cause is not None
        and cause.severity >= CONTENTION_SEVERITY
        and scan.z("p95", origin) >= AFFECTED_Z
    ):
        return True
    return risk.chance >= PAGE_CHANCE and explained


def lacks_baseline(scan: Scan, who: Service) -> bool:
    """Whether nobody knows how long a service usually takes but who calls it, as of a database: it tells no breach."""
    return not math.isfinite(scan.level("p95", who))


def is_affected(scan: Scan, who: Service, own: Mapping[Service, Own]) -> bool:
    """Whether a service is worse than usual in what its callers see."""
    figures = (scan.z("p95", who), scan.z("failed", who), scan.z("flight", who))
    return (who in own and own[who].missing) or any(math.isfinite(z) and z >= AFFECTED_Z for z in figures)


def propagates(scan: Scan, origin: Service, who: Service) -> bool:
    """Whether a caller's trouble can be the origin's: about as many seconds more, or failures where that one fails.

    A caller that is covered (a fallback, a cached answer) carries nothing on, whatever else befalls it.
    """
    failing, lost = _more(scan, "failed", origin), _more(scan, "failed", who)
    part = CALLEE_SHARE * CALLEE_SHARE * failing
    shows = scan.z("failed", who) >= AFFECTED_Z and lost >= part * _asks(scan, who, origin)
    if failing > VISIBLE_FAILED_RATIO and (lost >= part or shows):
        return True
    late, own = _more(scan, "p95", origin), _more(scan, "p95", who)
    usual = scan.level("p95", who)
    if not (late > 0 and (math.isnan(usual) or late >= RELEVANT_SHARE * usual)):
        return failing <= VISIBLE_FAILED_RATIO  # it shows nothing of its own yet, or fails and this one is covered
    return own >= CALLEE_SHARE * late or lost > VISIBLE_FAILED_RATIO  # slower, or it gives up


def _asks(scan: Scan, who: Service, origin: Service) -> float:
    """Which share 0…1 of a caller's requests can reach the origin at most: a cache answers the others, say."""
    found = [
        there / mine
        for of in (scan.level, scan.value)
        if (mine := of("rate", who)) > 0 and (there := of("rate", origin)) > 0
    ]
    return min(1.0, max(found, default=1.0))


def is_relevant(scan: Scan, who: Service) -> bool:
    """Whether what a service takes more is some part of what its callers take, or it fails; nobody calls an entry."""
    callers = scan.callers.get(who, ())
    if not callers or _more(scan, "failed", who) > VISIBLE_FAILED_RATIO:
        return True
    late = _more(scan, "p95", who)
    usual = [level for caller in callers if math.isfinite(level := scan.level("p95", caller))]
    return not usual or late >= RELEVANT_SHARE * min(usual)


def _more(scan: Scan, name: str, who: Service | Edge) -> float:
    """How much more than usual, in the signal's unit; 0 where that is not known."""
    value, level = scan.denoised(name, who), scan.level(name, who)
    if not math.isfinite(value):
        return 0.0
    return max(0.0, value - (level if math.isfinite(level) else 0.0))


def _origin(
    scan: Scan, members: Set[Service], own: Mapping[Service, Own], findings: Mapping[Service, Sequence[Finding]]
) -> Service:
    """The one that no other explains: it calls nobody in the group, may be why its callers suffer, and shows most."""

    def rank(who: Service) -> tuple[float, bool, float, Service]:
        below = sum(callee in members for callee in scan.callees.get(who, ()))
        strongest = max((each.strength for each in findings.get(who, ())), default=0.0)
        shown = max(strongest, own[who].chance if who in own else 0.0)
        crowded = who in own and own[who].crowded
        return (below, not (crowded or explains_callers(scan, who, own)), -shown, who)

    return min(members, key=rank)


def explains_callers(scan: Scan, who: Service, own: Mapping[Service, Own]) -> bool:
    """Whether a service shows a good part of what some caller that misses its objective takes or fails more.

    Any does where no caller misses it. What only its clients tell of is as they see it.
    """
    edges = [scan.world.edges[row] for row in scan.into.get(who, ())]
    late, failing = (
        max([_more(scan, name, who), *(_more(scan, seen, edge) for edge in edges)])
        for name, seen in (("p95", "edge_p95"), ("failed", "edge_failed"))
    )
    missing = [caller for caller in scan.upstream[who] if caller in own and own[caller].missing]
    told = [(_more(scan, "p95", caller), _more(scan, "failed", caller)) for caller in missing]
    return not told or any(
        (more > 0 and ORIGIN_SHARE * more <= late) or (lost > 0 and ORIGIN_SHARE * lost <= failing)
        for more, lost in told
    )


def _cause(origin: Service, members: Set[Service], findings: Mapping[Service, Sequence[Finding]]) -> Finding | None:
    """The best finding about the origin; where there is none, about any of the others."""
    return best_finding(list(findings.get(origin, ())) or [each for who in members for each in findings.get(who, ())])


def best_finding(findings: Sequence[Finding]) -> Finding | None:
    """The one that explains most.

    That a service is slow by itself is what is left where nothing else explains it, and before that, load that comes at
    this time every week; where replicas for what is asked are on their way, what hurts is that they are not there.
    """
    if any(each.cause == "provisioning lag" for each in findings):
        findings = [each for each in findings if each.cause != "demand"]

    def rank(each: Finding) -> tuple[bool, bool, bool, float, float]:
        return not each.by_itself, not each.expected, each.urgent, each.strength, -each.since

    return max(findings, key=rank, default=None)


def _of_origin(cause: Finding, origin: Service) -> bool:
    return cause.by_itself and cause.service == origin


def _likeliest(origin: Service, unsure: Mapping[Service, Sequence[Finding]]) -> Finding | None:
    """The best of what is not sure, where nothing is."""
    return max(unsure.get(origin, ()), key=lambda each: (each.strength, -each.since), default=None)
