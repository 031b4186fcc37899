"""The affected services in the order of their first anomaly, a dependency before its callers. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.panels.chosen_incidents import HEALTHY_SECONDS, LEAD_IN_SECONDS, ChosenIncidents
from foreshock_dashboard.web.panels.timeline import timeline
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import ServiceHistory

ONSET_UNCERTAINTY_SECONDS = 60.0
"""Time between two first anomalies within which their order is unknown: rates are those of the minute before."""


def affected_order(
    snapshot: Snapshot,
    world: World,
    chosen: ChosenIncidents,
    history: ServiceHistory,
    start: float,
    histories: HistoryCache,
) -> tuple[str, ...]:
    """The affected services in the order of their first anomaly, which does not depend on the shown time range.

    Of services whose order is unknown, a dependency is before its callers. history: from `start` on, Unix seconds; used
    where the order needs no earlier start.
    """
    since = min(world.time - HEALTHY_SECONDS, math.inf if chosen.onset is None else chosen.onset - LEAD_IN_SECONDS)
    if abs(since - start) >= world.step:
        history, start = histories.get(snapshot, world, chosen.onset, since, chosen.slos), since
    lanes = timeline(world, start, history, chosen, len(world.services)).lanes
    onsets = {lane.service: lane.first for lane in lanes if lane.part == "affected"}
    return causes_first(onsets, {(str(edge.client), str(edge.server)) for edge in world.edges})


def causes_first(onsets: Mapping[str, float], calls: Set[tuple[str, str]]) -> tuple[str, ...]:
    """Services in the order of `onsets`, Unix seconds; one that no earlier service explains comes after its dependency.

    That holds for dependencies whose onset is hardly later. calls: of client and server.
    """
    callees: dict[str, list[str]] = {service: [] for service in onsets}
    for _, client, server in sorted((onsets[pair[1]], *pair) for pair in calls if set(pair) <= onsets.keys()):
        callees[client].append(server)
    ordered: dict[str, None] = {}
    seen: set[str] = set()
    for service in onsets:
        path = [service]
        while path:
            seen.add(client := path[-1])
            latest = onsets[client] + ONSET_UNCERTAINTY_SECONDS
            near = (callee for callee in callees[client] if callee not in seen and onsets[callee] <= latest)
            following = None if ordered.keys() & callees[client] else next(near, None)
            if following is None:
                ordered[path.pop()] = None
            else:
                path.append(following)
    return tuple(ordered)
