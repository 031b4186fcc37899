"""What a detector's pages are worth in one run: warned, how early, and how often for nothing.

A page is a *hit* if it comes between the onset of the fault t_0 and five minutes after the cascade's t_c and names a
service of the affected. It is *early* if it comes before t_c; its *lead* is then t_c − t, otherwise 0: misses count.
*False* is a page outside [t_0, t_c + 30 min] of a cascade, and any page of a run without one. Pages of one component
(what calls or shared GPUs join) that come within a quarter of an hour of each other are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.evaluation.truth import Expected, Truth
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World

LATE = 300.0
"""Seconds after the cascade's onset in which a page still is a hit."""
AFTERMATH = 1800.0
"""Seconds after the cascade's onset in which no page is false."""
MERGED = 900.0
"""Seconds within which pages of one component are one."""
USEFUL = 120.0
"""Seconds of lead in which load can be shed or sent elsewhere."""
DAY = 86_400.0


class Page(NamedTuple):
    """Somebody is called, and told of these services."""

    time: float
    services: frozenset[Service]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the pages of one detector were worth in one run.

    first: the page that is a hit, if one is. lead: seconds by which it came before the cascade. delay: seconds from the
    onset of the fault to it. false: pages for nothing; quiet: seconds in which a page would have been for nothing.
    """

    first: Page | None
    lead: float
    delay: float | None
    false: int
    quiet: float

    @property
    def hit(self) -> bool:
        """Warned within five minutes of the cascade's onset."""
        return self.first is not None

    @property
    def early(self) -> bool:
        """Warned before it."""
        return self.lead > 0

    @property
    def useful(self) -> bool:
        """Warned in time to act."""
        return self.lead >= USEFUL


def scored(truth: Truth, expected: Expected) -> bool:
    """Whether the run went as its scenario means it to: a cascade that did not happen cannot be warned of."""
    return truth.cascaded == expected.cascade


def heard(truth: Truth, expected: Expected, pages: Iterable[Page], component: Mapping[Service, int]) -> Heard:
    """Judge pages, in any order. `component`: as `components` gives it; whom it does not know stands for itself."""
    in_time = sorted(pages, key=lambda page: page.time)
    if not truth.cascaded or truth.onset is None:
        return Heard(None, 0.0, None, merged(in_time, component), truth.end - truth.start)
    begin, end = truth.onset, truth.began + AFTERMATH
    outside = [page for page in in_time if not begin <= page.time <= end]
    who = affected(truth, expected)
    hits = [page for page in in_time if begin <= page.time <= truth.began + LATE and page.services & who]
    quiet = truth.end - truth.start - (min(end, truth.end) - begin)
    if not hits:
        return Heard(None, 0.0, None, merged(outside, component), quiet)
    lead = max(0.0, truth.began - hits[0].time)
    return Heard(hits[0], lead, hits[0].time - begin, merged(outside, component), quiet)


def affected(truth: Truth, expected: Expected) -> frozenset[Service]:
    """Those that a page may name: who missed an objective, where it begins, and whose doing it is."""
    origin = {truth.origin} if truth.origin else set()
    return frozenset({*truth.breached, *truth.victims, *origin, *expected.culprits, *(expected.edge or ())})


def merged(pages: Sequence[Page], component: Mapping[Service, int]) -> int:
    """How many pages there are, where those of one component close to each other are one. In order of time."""
    last: dict[int | Service, float] = {}
    count = 0
    for page in pages:
        where = {component.get(service, service) for service in page.services}
        count += all(page.time - last.get(each, float("-inf")) >= MERGED for each in where)
        last |= dict.fromkeys(where, page.time)
    return count


def components(world: World) -> Mapping[Service, int]:
    """Services by the component they belong to: calls and shared GPUs join. Numbered by the first service of each."""
    joined: dict[Service, Service] = {service: service for service in world.services}

    def root(service: Service) -> Service:
        while joined.setdefault(service, service) != service:
            service = joined[service]
        return service

    for edge in world.edges:
        if edge.connection != "virtual_node":
            joined[root(edge.client)] = root(edge.server)
    on: dict[Gpu, Service] = {}
    for tenant in world.tenants:
        joined[root(tenant.service)] = root(on.setdefault(tenant.gpu, tenant.service))
    number: dict[Service, int] = {}
    return {service: number.setdefault(root(service), len(number)) for service in sorted(joined)}
