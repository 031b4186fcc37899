"""Mass of excess latency: how many seconds per second requests take longer than normally, and where.

A service's own excess is that of its requests less that of the requests it makes. What only the client of a call
measures is shared between both ends by what each has in common with its other calls. Means count by the requests behind
them, so that few slow requests weigh little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.deviation import normal_score
from foreshock_dashboard.analysis.root_cause.signal_rows import Call, SignalRow
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


class Seconds(NamedTuple):
    """Seconds spent in requests and their number at each point; shape (times,), 0 where there are none."""

    seconds: Floats
    requests: Floats


class MeanExcess(NamedTuple):
    """Mean seconds per request above the level, its distance as a normal score, and the requests that it is of."""

    seconds: float
    z: float
    requests: float

    @property
    def mass(self) -> float:
        """Seconds of all requests together if it is significant, else 0."""
        return self.seconds * self.requests if self.z >= use.ANOMALOUS_Z else 0.0


class ExcessMass(NamedTuple):
    """Own excess of each service in seconds, its distance in standard errors, and what all services normally spend.

    normal: seconds per point of all services together.
    """

    by_service: Mapping[Service, float]
    normal: float
    z: Mapping[Service, float]


def excess_mass(signals: Iterable[SignalRow], baseline_end: int, columns: Sequence[int], step: float) -> ExcessMass:
    """Own excess of services with a mean latency and a number of requests, at some points (columns) together.

    step: seconds between points.
    """
    points = max(1, round(use.SUSTAINED.at(step) / step))
    served, calls = _measured(signals)
    callees, callers = defaultdict[Service, list[Service]](list), defaultdict[Service, list[Service]](list)
    for client, server in calls:
        callees[client].append(server)
        callers[server].append(client)
    gaps = {
        call: found
        for call, (client, server) in calls.items()
        if client is not None
        and (server is not None or call[1] not in served)  # a database measures nothing itself
        and (found := _excess(_gap(client, server), baseline_end, columns, points))
    }
    masses, z = defaultdict[Service, float](float), defaultdict[Service, float](float)
    for service, whole in served.items():
        below = np.zeros_like(whole.seconds)
        for callee in callees[service]:
            by_client, by_server = calls[service, callee]
            part = by_server or by_client
            if part is not None:
                below = below + part.seconds
        own = _excess(Seconds(whole.seconds - below, whole.requests), baseline_end, columns, points)
        if own is not None:
            z[service] = own.z
            waited = sum(gaps[service, callee].mass for callee in callees[service] if (service, callee) in gaps)
            masses[service] += max(0.0, own.mass - max(0.0, waited))
    for (client, server), gap in gaps.items():
        z[server], z[client] = max(z[server], gap.z), max(z[client], gap.z)
        if gap.mass > 0:
            same = [gaps[other, server] for other in callers[server] if other != client and (other, server) in gaps]
            rest = [gaps[client, other] for other in callees[client] if other != server and (client, other) in gaps]
            common, other = _anomalous_share(same), _anomalous_share(rest)
            share = (common + use.CALLEE_PRIOR) / (common + other + use.CALLEE_PRIOR + use.CALLER_PRIOR)
            masses[server] += share * gap.mass
            masses[client] += (1 - share) * gap.mass
    normal = sum(
        float(item.seconds[:baseline_end].sum()) / max(1, int((item.requests[:baseline_end] > 0).sum()))
        for item in served.values()
    )
    return ExcessMass(masses, normal, z)


def _measured(
    signals: Iterable[SignalRow],
) -> tuple[Mapping[Service, Seconds], Mapping[Call, tuple[Seconds | None, Seconds | None]]]:
    """Seconds that services spent, and those of calls as the client and the server measured them."""
    sides: dict[Call, dict[str, Seconds]] = defaultdict(dict)
    own: dict[Service, Seconds] = {}
    counts: dict[Call, Floats] = {}
    rows = [row for row in signals if row.kind in ("latency", "traffic")]
    reported_by = Counter(row.metric for row in rows if row.kind == "latency" and isinstance(row.entity, Service))
    means = [row for row in rows if row.kind == "latency" and row.statistic in ("mean", "")]
    for row in rows if means else ():
        if row.kind == "traffic" and not isinstance(row.entity, Service) and row.counts is not None:
            counts.setdefault(row.entity, np.nan_to_num(row.counts))
    for row in sorted(means, key=lambda row: -reported_by[row.metric]):  # most services report that of their requests
        if row.counts is None:
            continue
        known = np.isfinite(row.values) & (np.nan_to_num(row.counts) > 0)
        number = np.where(known, row.counts, 0.0)
        measured = Seconds(np.where(known, row.values * number, 0.0), number)
        if isinstance(row.entity, Service):
            own.setdefault(row.entity, measured)
        else:
            sides[row.entity].setdefault(row.side or "server", measured)
    calls: dict[Call, tuple[Seconds | None, Seconds | None]] = {
        call: (found.get("client"), found.get("server")) for call, found in sides.items()
    }
    served: dict[Service, Seconds] = {}
    for (_, server), (_, measured_by_server) in calls.items():
        if measured_by_server is not None:
            before = served.get(server)
            served[server] = (
                measured_by_server
                if before is None
                else Seconds(before.seconds + measured_by_server.seconds, before.requests + measured_by_server.requests)
            )
    for service, measured in own.items():
        served.setdefault(service, measured)
    for call, number in counts.items():
        by_client, by_server = calls.get(call, (None, None))
        if by_server is None and call[1] in own:
            callee = own[call[1]]
            mean = callee.seconds / np.maximum(callee.requests, 1e-9)
            calls[call] = by_client, Seconds(mean * number, number)
    return served, calls


def _gap(client: Seconds, server: Seconds | None) -> Seconds:
    """What the client measures beyond the server, at points where both do; all of it where no server does."""
    if server is None:
        return client
    both = (client.requests > 0) & (server.requests > 0)
    seconds = client.seconds / np.maximum(client.requests, 1e-9) * server.requests - server.seconds
    return Seconds(np.where(both, seconds, 0.0), np.where(both, server.requests, 0.0))


def _anomalous_share(gaps: Sequence[MeanExcess]) -> float:
    """Share of requests of some calls with a significant gap; 0.5 without any."""
    total = sum(gap.requests for gap in gaps)
    return sum(gap.requests for gap in gaps if gap.z >= use.ANOMALOUS_Z) / total if total > 0 else 0.5


def _excess(measured: Seconds, baseline_end: int, columns: Sequence[int], points: int) -> MeanExcess | None:
    """Excess of the pooled mean over the request-weighted median of the baseline; None without a baseline."""
    number = measured.requests[:baseline_end]
    past = number > 0
    now = measured.requests[list(columns)]
    if past.sum() < use.MIN_BASELINE_POINTS or not now.sum() > 0:
        return None
    number = number[past]
    means = measured.seconds[:baseline_end][past] / number
    level = _weighted_median(means, number)
    deviation = np.abs(means - level)
    per_request = max(abs(level), 1.4826 * _weighted_median(deviation * np.sqrt(number), number))  # exponential or more
    between = float(np.quantile(deviation, 0.75))
    requests = float(now[now > 0].mean())
    value = float(measured.seconds[list(columns)].sum() / now.sum())
    error = math.sqrt(per_request**2 / requests + between**2 + (use.MIN_MEAN_SCALE * level) ** 2 + 1e-12)
    freedom = min(past.sum() / points, now.sum() / points)
    return MeanExcess(
        value - level, float(normal_score(np.array((value - level) / error), np.array(freedom))), requests
    )


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
