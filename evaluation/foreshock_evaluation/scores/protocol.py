"""Detection score of a detector's pages in one run: hits, lead time, and false alarms.

A page is a *hit* if it comes between the fault's onset t_0 and five minutes after the cascade's onset t_c, and names an
affected service. It is *early* before t_c; its *lead time* is t_c − t, or 0, so that misses count. Pages outside
[t_0, t_c + 30 min] of a cascade, and all pages of a run without one, are *false alarms*, unless another known fault
is the reason. Where the scenario leaves the cascade to the run, and only the origin breaches its SLO, the pages about
it within 30 minutes of its breach are neither hits nor false alarms. Pages of one component (services connected by
calls or shared GPUs) within 15 minutes count once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World
from foreshock_evaluation.scores.truth import Expected, Truth

MAX_DELAY_SECONDS = 300.0
"""Time after the cascade's onset in which a page is still a hit."""
AFTERMATH_SECONDS = 1800.0
"""Time after the cascade's onset in which no page is a false alarm."""
OTHER_AFTERMATH_SECONDS = 120.0
"""Time after another known fault of a recording in which its pages are no false alarms."""
MERGE_SECONDS = 900.0
"""Time within which pages of one component count once."""
USEFUL_LEAD_SECONDS = 120.0
"""Lead time in which load can be shed or rerouted."""
DAY_SECONDS = 86_400.0


class Page(NamedTuple):
    """A page at a time (Unix seconds) about some services."""

    time: float
    services: frozenset[Service]


@dataclass(frozen=True, slots=True)
class DetectionScore:
    """How well the pages of one detector matched the cascade of one run.

    first_hit: the first page that is a hit. lead_seconds: from it to the cascade's onset, 0 if later or missing.
    delay_seconds: from the fault's onset to it. false_alarms: pages without a reason. quiet_seconds: time in which a
    page would have been false.
    """

    first_hit: Page | None
    lead_seconds: float
    delay_seconds: float | None
    false_alarms: int
    quiet_seconds: float

    @property
    def hit(self) -> bool:
        """Whether a page came within `MAX_DELAY_SECONDS` of the cascade's onset."""
        return self.first_hit is not None

    @property
    def any_false(self) -> bool:
        """Whether a page was a false alarm."""
        return self.false_alarms > 0

    @property
    def early(self) -> bool:
        """Whether a page came before the cascade's onset."""
        return self.lead_seconds > 0

    @property
    def useful(self) -> bool:
        """Whether a page came in time to act."""
        return self.lead_seconds >= USEFUL_LEAD_SECONDS


def happened_as_expected(truth: Truth, expected: Expected) -> bool:
    """Whether the run had a cascade if and only if its scenario means it to; other runs are not scored."""
    return expected.cascade in (truth.cascaded, None)


def is_contained(truth: Truth, expected: Expected) -> bool:
    """Whether a cascade was left to the run, and the fault made only its origin breach the SLO."""
    return expected.cascade is None and not truth.cascaded and truth.origin in truth.breached


def score_pages(
    truth: Truth, expected: Expected, pages: Iterable[Page], component: Mapping[Service, int]
) -> DetectionScore:
    """Score pages in any order. component: from `components`; other services count as their own component."""
    others = [(start, end + OTHER_AFTERMATH_SECONDS) for start, end in truth.others]
    by_time = sorted(
        (page for page in pages if not any(start <= page.time <= end for start, end in others)),
        key=lambda page: page.time,
    )
    whole = truth.end - truth.start - sum(max(0.0, end - max(start, truth.start)) for start, end in others)
    affected = affected_services(truth, expected)
    if not truth.cascaded or truth.onset is None:
        if is_contained(truth, expected) and truth.onset is not None and truth.origin is not None:
            begin, end = truth.onset, truth.breached[truth.origin] + AFTERMATH_SECONDS
            by_time = [page for page in by_time if not (begin <= page.time <= end and page.services & affected)]
        return DetectionScore(None, 0.0, None, count_pages(by_time, component), whole)
    begin, end = truth.onset, truth.cascade_onset + AFTERMATH_SECONDS
    outside = [page for page in by_time if not begin <= page.time <= end]
    hits = [
        page
        for page in by_time
        if begin <= page.time <= truth.cascade_onset + MAX_DELAY_SECONDS and page.services & affected
    ]
    quiet = whole - (min(end, truth.end) - begin)
    if not hits:
        return DetectionScore(None, 0.0, None, count_pages(outside, component), quiet)
    lead = max(0.0, truth.cascade_onset - hits[0].time)
    return DetectionScore(hits[0], lead, hits[0].time - begin, count_pages(outside, component), quiet)


def affected_services(truth: Truth, expected: Expected) -> frozenset[Service]:
    """Services that a hit may name: those that breached their SLO, the origin, and the root cause."""
    origin = {truth.origin} if truth.origin else set()
    return frozenset({*truth.breached, *truth.victims, *origin, *expected.root_causes, *(expected.edge or ())})


def count_pages(pages: Sequence[Page], component: Mapping[Service, int]) -> int:
    """Number of pages in order of time, where those of one component close to each other count once."""
    last: dict[int | Service, float] = {}
    count = 0
    for page in pages:
        numbers = {component.get(service, service) for service in page.services}
        count += all(page.time - last.get(number, -math.inf) >= MERGE_SECONDS for number in numbers)
        last |= dict.fromkeys(numbers, page.time)
    return count


def components(world: World) -> Mapping[Service, int]:
    """Component number of each service: services connected by calls or shared GPUs (union-find)."""
    joined: dict[Service, Service] = {service: service for service in world.services}

    def root(service: Service) -> Service:
        while joined.setdefault(service, service) != service:
            service = joined[service]
        return service

    for edge in world.edges:
        if edge.connection != "virtual_node":
            joined[root(edge.client)] = root(edge.server)
    first_tenant: dict[Gpu, Service] = {}
    for tenant in world.tenants:
        joined[root(tenant.service)] = root(first_tenant.setdefault(tenant.gpu, tenant.service))
    number: dict[Service, int] = {}
    return {service: number.setdefault(root(service), len(number)) for service in sorted(joined)}
