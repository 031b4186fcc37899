"""What each service and call shows while the affected service is anomalous."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, wraps
from typing import NamedTuple, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.deviation import Deviations, normal_score, sampling_noise
from foreshock_dashboard.analysis.root_cause.metric_kinds import quantile_of
from foreshock_dashboard.analysis.root_cause.past_peaks import sustained
from foreshock_dashboard.analysis.root_cause.signal_rows import Call, Entity
from foreshock_dashboard.analysis.root_cause.world_rows import LATENCY
from foreshock_dashboard.model.action import Reason, ReasonKind
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

Holder = TypeVar("Holder")
Result = TypeVar("Result")
Key = TypeVarTuple("Key")
PROPAGATING: tuple[SignalKind, ...] = ("latency", "errors", "traffic", "calls")
"""Kinds that spread along calls; the others stay where they are."""


class Deviation(NamedTuple):
    """Deviation of one signal: in scales, in its unit, and as a log ratio. since: Unix seconds."""

    row: int
    kind: SignalKind
    statistic: str
    metric: str
    z: float
    now: float
    level: float
    since: float

    @property
    def amount(self) -> float:
        """Excess in the signal's unit."""
        return self.now - self.level

    @property
    def log(self) -> float:
        """Logarithm of the ratio to the level."""
        return math.log(self.now / self.level) if self.now > 0 and self.level > 0 else 0.0


def _falling_z(item: Deviation) -> float:
    """Sort key: the largest deviation first."""
    return -item.z


NONE = Deviation(-1, "other", "", "", 0.0, 0.0, 0.0, math.inf)


def confidence(z: float) -> float:
    """Confidence, 0 to 1, that a deviation of `z` scales is an anomaly."""
    return 1 - math.exp(-((z / use.CONFIDENCE_SCALES) ** 2)) if z > 0 else 0.0


def computed_once(method: Callable[[Holder, *Key], Result]) -> Callable[[Holder, *Key], Result]:
    """A method that keeps its results: all callers of a service ask for the same, which depends on all callers."""
    name = f"_results_of_{method.__name__}"

    @wraps(method)
    def lookup(self: Holder, *key: *Key) -> Result:
        known: dict[tuple[*Key], Result] = self.__dict__.setdefault(name, {})
        try:
            return known[key]
        except KeyError:
            result = known[key] = method(self, *key)
            return result

    return lookup


class SignalGraph:
    """What all evidence from the same deviations has in common, whichever services are affected.

    Attributes:
        found: deviations of all signals.
        points: over which a deviation has to last.
    """

    def __init__(self, found: Deviations) -> None:
        self.found = found
        self.calls: list[Call] = [entity for entity in found.by_entity if not isinstance(entity, Service)]
        reporting = (entity for entity in found.by_entity if isinstance(entity, Service))
        self.services = sorted({*reporting, *(service for call in self.calls for service in call)})
        self.callees: dict[Service, list[Service]] = defaultdict(list)
        self.callers: dict[Service, list[Service]] = defaultdict(list)
        for client, server in self.calls:
            self.callees[client].append(server)
            self.callers[server].append(client)
        self.points = max(1, round(use.SUSTAINED.at(found.step) / found.step))
        early = (found.at - use.EARLY.at(found.step)) - found.times
        late = found.times - (found.at + use.LATE.at(found.step))
        self._weights = np.exp(-np.maximum(0.0, np.maximum(early, late)) / use.ONSET_DECAY.at(found.step))

    @cached_property
    def peaks(self) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Rows of the signals that stay where they are, and z and value of each at its own worst time.

        They need not last as long as those that spread.
        """
        found = self.found
        rows = np.array([i for i, row in enumerate(found.rows) if row.kind not in PROPAGATING], dtype=np.intp)
        if not len(rows):
            return rows, np.empty(0), np.empty(0)
        points = max(1, round(use.RESOURCE_SUSTAINED.at(found.step) / found.step))
        rises, falls = (sustained(sign * found.z[rows], points) * self._weights for sign in (1, -1))
        rises, falls = (np.where(np.isnan(values), -np.inf, values) for values in (rises, falls))
        up, down = rises.max(axis=1), falls.max(axis=1)
        can_fall = [found.rows[row].kind in ("resource", "other") for row in rows.tolist()]
        down = np.where(can_fall, use.DECREASE_WEIGHT * down, np.where(np.isfinite(down), 0.0, -np.inf))
        at = np.where(up >= down, rises.argmax(axis=1), falls.argmax(axis=1))
        return rows, np.maximum(up, down), found.values[rows, at]

    def anomalous_columns(self, affected: Service | None) -> list[int]:
        """Indexes in the analyzed time at which a service, or all, deviate at least half as much as at most."""
        found = self.found
        rows = [] if affected is None else [*self._visible_rows(affected), *self._outgoing_rows(affected)]
        if not rows:
            rows = [i for i, row in enumerate(found.rows) if row.kind in ("latency", "errors")] or list(
                range(len(found.rows))
            )
        if not rows:
            return list(range(len(found.times)))
        z = found.z[rows]
        size = np.where(np.array([found.rows[row].kind == "traffic" for row in rows])[:, None], -z, z)
        combined = np.log1p(np.clip(np.nan_to_num(sustained(size, self.points)), 0.0, None) * self._weights)
        over_time = (
            combined.max(axis=0)
            if affected is not None
            else np.sort(combined, axis=0)[-max(1, len(rows) // 10) :].mean(axis=0)
        )
        highest = float(over_time.max(initial=0.0))
        if highest <= 0:
            return list(range(len(found.times)))
        begins = np.flatnonzero(over_time >= 0.7 * highest)
        hot = {column + k for column in begins.tolist() for k in range(self.points)}
        return sorted(column for column in hot if column < len(found.times))

    def _visible_rows(self, service: Service) -> list[int]:
        """Signals that users of a service notice; of the calls to it, or everything else, where it has none."""
        kinds = self.found.by_entity.get(service, {})
        rows = [row for kind in ("latency", "errors", "availability", "traffic") for row in kinds.get(kind, ())]
        if not any(self.found.rows[row].kind != "traffic" for row in rows):
            rows += [
                row
                for caller in self.callers.get(service, ())
                for kind in ("latency", "errors")
                for row in self.found.by_entity.get((caller, service), {}).get(kind, ())
            ]
        return rows or [row for rows_of in kinds.values() for row in rows_of]

    def _outgoing_rows(self, service: Service) -> list[int]:
        """Signals of the calls that a service makes: each of its requests waits for some of them."""
        calls = [self.found.by_entity.get((service, callee), {}) for callee in self.callees.get(service, ())]
        return [row for kinds in calls for kind in ("latency", "errors") for row in kinds.get(kind, ())]


class ServiceEvidence:
    """Deviations of services and calls, as means over the points at which affected services are anomalous.

    Args:
        graph: the services and calls, with the deviations of all signals.
        columns: indexes of those points in the analyzed time.
    """

    def __init__(self, graph: SignalGraph, columns: Sequence[int]) -> None:
        self.found = found = graph.found
        self.calls, self.services = graph.calls, graph.services
        self.callees, self.callers = graph.callees, graph.callers
        self._points = graph.points
        self._cache: dict[tuple[Entity, SignalKind, str], tuple[Deviation, ...]] = {}
        self._z, self._now = self._pooled(columns)
        rows, self._z[rows], self._now[rows] = graph.peaks
        over = np.abs(found.z) >= np.fmax(use.ANOMALOUS_Z, self._z / 4)[:, None]
        since = np.where(over.any(axis=1), found.times[over.argmax(axis=1)], np.inf)
        numbers = (self._z, self._now, found.level, since)
        self._numbers = list(zip(*(column.tolist() for column in numbers), strict=True))

    def _pooled(self, columns: Sequence[int]) -> tuple[Floats, Floats]:
        """z and value of each signal over some points together, each point with the weight of its requests."""
        found, rows = self.found, self.found.rows
        values, counts = found.values[:, columns], found.counts[:, columns]
        known = np.isfinite(values)
        weights = np.where(known, np.where(np.isfinite(counts), counts, 1.0), 0.0)
        with np.errstate(all="ignore"):
            now = np.where(known, values, 0.0)
            now = (now * weights).sum(axis=1) / weights.sum(axis=1)
            now = np.where([row.kind == "traffic" for row in rows], mean_of_known(values), now)
            z = mean_of_known(found.z[:, columns])
            number = np.nansum(counts, axis=1) / (self._points if found.step < use.SUSTAINED.seconds else 1)
            for kind in ("latency", "errors", "calls"):
                at = np.flatnonzero([row.kind == kind and row.counts is not None for row in rows])
                if not len(at):
                    continue
                chosen = [rows[i] for i in at.tolist()]
                level = found.level[at]
                noise = sampling_noise(kind, chosen, number[at, None], level[:, None], now[at, None])[:, 0]
                least = 0.02 * level if kind == "calls" else 0.0
                deviation = now[at] - level if kind == "errors" else np.log((now[at] + least) / (level + least))
                scale = np.where(deviation > 0, found.scale[at, 1], found.scale[at, 0])
                z[at] = normal_score(deviation / np.fmax(scale, noise), found.freedom[at])
        return z, now

    def of(self, entity: Entity, kind: SignalKind, side: str = "") -> tuple[Deviation, ...]:
        """Deviations of one kind, the largest first. side: of a call, as one side measured it."""
        key = entity, kind, side
        known = self._cache.get(key)
        if known is None:
            rows = self.found.by_entity.get(entity, {}).get(kind, ())
            made = [self._deviation(row) for row in rows if not side or self.found.rows[row].side in ("", side)]
            known = self._cache[key] = tuple(sorted([item for item in made if math.isfinite(item.z)], key=_falling_z))
        return known

    def _deviation(self, row: int) -> Deviation:
        signal = self.found.rows[row]
        return Deviation(row, signal.kind, signal.statistic, signal.metric, *self._numbers[row])

    def worst(self, entity: Entity, kind: SignalKind, side: str = "") -> Deviation:
        """The largest deviation of one kind."""
        return next(iter(self.of(entity, kind, side)), NONE)

    @computed_once
    def latencies(self, service: Service) -> tuple[Deviation, ...]:
        """Latencies of a service, as it measured them; of the calls to it where it does not."""
        return self.of(service, "latency") or self._from_callers(service, "latency")

    @computed_once
    def errors(self, service: Service) -> Deviation:
        """Error rate of a service; of the calls to it where it reports none."""
        return (
            self.worst(service, "errors")
            if self.of(service, "errors")
            else next(iter(self._from_callers(service, "errors")), NONE)
        )

    def _from_callers(self, service: Service, kind: SignalKind) -> tuple[Deviation, ...]:
        sides = [self.of((caller, service), kind) for caller in self.callers.get(service, ())]
        return max(sides, key=lambda side: side[0].z if side else -math.inf, default=())

    def reports(self, service: Service) -> bool:
        """Whether a service reports anything about itself."""
        return service in self.found.by_entity

    def is_host(self, service: Service) -> bool:
        """Whether only labels for hosts name it; services run there."""
        kinds = self.found.by_entity.get(service, {}).values()
        return bool(kinds) and all(self.found.rows[row].side == "host" for rows in kinds for row in rows)

    @computed_once
    def metrics(self, service: Service) -> list[Deviation]:
        """All deviations of a service, the largest first; growing traffic is load, and falling traffic may be lost."""
        items = [item for kind in self.found.by_entity.get(service, {}) for item in self.of(service, kind)]
        for caller in self.callers.get(service, ()):
            items += [*self.of((caller, service), "latency")[:1], *self.of((caller, service), "errors")[:1]]
        for i, item in enumerate(items):
            if item.kind == "traffic":
                items[i] = item._replace(z=max(abs(item.z) * use.DECREASE_WEIGHT, self.lost(service)))
        return sorted(items, key=lambda item: (-round(item.z, 6), item.metric, -(quantile_of(item.statistic) or 0.0)))

    @computed_once
    def lost(self, service: Service) -> float:
        """Requests that no longer arrive though the callers still have theirs, in scales; 0 without known callers.

        Counts are compared by their roots, which are nearly normal (Anscombe, Biometrika 1948).
        """
        traffic = max(self.of(service, "traffic"), key=lambda item: item.level, default=NONE)
        callers = [self.rate(caller) for caller in self.callers.get(service, ()) if caller != service]
        normally, now = sum(level for level, _ in callers), sum(now for _, now in callers)
        row = self.found.rows[traffic.row]
        if traffic is NONE or row.counts is None or not normally > 0 or not traffic.now < traffic.level:
            return 0.0
        expected = traffic.level * min(1.0, now / normally)
        if not expected > traffic.now:
            return 0.0
        requests_per_unit = np.nansum(row.counts) / np.nansum(row.values)
        fewer = math.sqrt(expected * requests_per_unit + 0.375) - math.sqrt(traffic.now * requests_per_unit + 0.375)
        least = 0.02 * traffic.level
        t = min(
            2 * fewer / use.TRAFFIC_NOISE,
            math.log((expected + least) / (traffic.now + least)) / self.found.scale[traffic.row, 0],
        )
        return float(normal_score(np.array(t), self.found.freedom[traffic.row]))

    @cached_property
    def strengths(self) -> Mapping[Service, float]:
        """The strength of what each service shows."""
        return {service: self._strength(service) for service in self.services}

    def _strength(self, service: Service) -> float:
        """Mean of the highest log score and of the mean of the `TOP_METRICS` highest: a cause shows in several."""
        weights = sorted(
            (
                math.log1p(max(0.0, item.z) * growth_weight(item))
                * (1.0 if item.kind in ("resource", "availability") else use.PROPAGATING_WEIGHT)
                for item in self._by_metric(service)
            ),
            reverse=True,
        )[: use.TOP_METRICS]
        return (weights[0] + sum(weights) / len(weights)) / 2 if weights else 0.0

    def _by_metric(self, service: Service) -> Iterable[Deviation]:
        best: dict[str, Deviation] = {}
        for item in self.metrics(service):
            best.setdefault(item.metric, item)
        return best.values()

    @cached_property
    def largest_z(self) -> tuple[float, float]:
        """The largest deviation of latency, and that of errors, of any service, in scales."""
        slow = max((item.z for service in self.services for item in self.latencies(service)), default=0.0)
        return slow, max((self.errors(service).z for service in self.services), default=0.0)

    @cached_property
    def local_z(self) -> Mapping[Service, float]:
        """Deviation of what does not come from callees, in scales, of each service."""
        return {service: max(self.local(service).z, self.changed_calls(service).z) for service in self.services}

    def local(self, service: Service) -> Deviation:
        """The largest deviation of what does not spread along calls: resources and availability."""
        return max(self.worst(service, "resource"), self.worst(service, "availability"), key=lambda item: item.z)

    def changed_calls(self, service: Service) -> Deviation:
        """The largest change of how many calls a request of a service makes; less where its callees explain it."""
        calls = [(service, callee) for callee in self.callees.get(service, ())]
        changes = [item._replace(z=abs(item.z)) for call in calls for item in self.of(call, "calls")]
        largest = max(changes, key=lambda item: item.z, default=NONE)
        worse = max([self.worst(call, kind).z for call in calls for kind in ("latency", "errors")], default=0.0)
        return largest._replace(z=largest.z * (use.INDUCED_WEIGHT if worse >= use.ANOMALOUS_Z else 1.0))

    def is_exonerated(self, service: Service) -> bool:
        """Whether the latency and the errors of a service are known and normal, also as its callers measure them."""
        seen = [*self.of(service, "latency"), *self.of(service, "errors")]
        for caller in self.callers.get(service, ()):
            seen += [*self.of((caller, service), "latency"), *self.of((caller, service), "errors")]
        return bool(seen) and max(item.z for item in seen) < use.MODERATE_Z

    @computed_once
    def rate(self, entity: Entity) -> tuple[float, float]:
        """Requests per second normally and now; NaN if unknown."""
        rows = self.of(entity, "traffic")
        if not rows and isinstance(entity, Service):
            into = [self.rate((caller, entity)) for caller in self.callers.get(entity, ())]
            return (sum(level for level, _ in into), sum(now for _, now in into)) if into else (math.nan, math.nan)
        best = max(rows, key=lambda item: item.level, default=None)
        if best is None:
            return math.nan, math.nan
        scale = self._traffic_scales.get(best.metric, 1.0) if isinstance(entity, Service) else 1.0
        return best.level * scale, best.now * scale

    @cached_property
    def _traffic_scales(self) -> Mapping[str, float]:
        """Factor from each traffic metric of services to the unit of the calls to them: it may count per minute."""
        ratios: dict[str, list[float]] = {}
        for service, callers in self.callers.items():
            own = max(self.of(service, "traffic"), key=lambda item: item.level, default=None)
            into = sum(self.rate((caller, service))[0] for caller in callers)
            if own is not None and own.level > 0 and into > 0:
                ratios.setdefault(own.metric, []).append(into / own.level)
        return {metric: float(np.median(values)) for metric, values in ratios.items()}

    @computed_once
    def calls_per_request(self, call: Call) -> float:
        """How many calls a request of the client makes, the larger of normally and now.

        Without a count of the calls, each caller makes the callee's requests in proportion to its own; 1 if unknown.
        """
        client, server = call
        calls = self.rate(call)
        whole = self.rate(client)
        if not math.isfinite(calls[0]) and not math.isfinite(calls[1]):
            calls = self.rate(server)
            callers = [self.rate(caller) for caller in self.callers[server]]
            whole = sum(level for level, _ in callers), sum(now for _, now in callers)
        elif not whole[0] > 0:
            others = [self.rate((client, callee)) for callee in self.callees[client]]
            whole = max(level for level, _ in others), max(now for _, now in others)
        ratios = [mine / of for mine, of in zip(calls, whole, strict=True) if of > 0 and mine >= 0]
        return max(ratios, default=1.0)

    def unavailable(self, call: Call) -> float:
        """Share of a client's excess that the server explains by being unavailable: calls wait for it, or fail."""
        down = self.worst(call[1], "availability")
        if down.z < use.ANOMALOUS_Z:
            return 0.0
        lost = abs(down.now - down.level) / max(abs(down.now), abs(down.level))
        return confidence(down.z) * lost * math.sqrt(min(1.0, self.calls_per_request(call)))

    def reasons(self, service: Service) -> tuple[Reason, ...]:
        """Its most anomalous signals."""
        named = [item for item in self._by_metric(service) if item.z >= use.MODERATE_Z]
        return tuple(self._reason(service, item) for item in named[: use.TOP_METRICS])

    def _reason(self, service: Service, item: Deviation) -> Reason:
        item = item if math.isfinite(item.since) else item._replace(since=math.nan)
        if item.kind == "latency" and item.level > 0:
            name, side = item.metric, "" if self.found.rows[item.row].entity == service else "client_"
            if name == LATENCY and item.statistic:
                name = f"{side}{item.statistic}_seconds"
            return Reason("slower", service, name, item.now / item.level, item.level, item.since)
        if item.kind == "errors" and 0 <= item.now <= 1:
            kind: ReasonKind = "failures_grew" if self.found.rows[item.row].entity == service else "calls_failed"
            return Reason(kind, service, item.metric, item.amount, item.level, item.since)
        return Reason("metric", service, item.metric, item.now, item.level, item.since)


def growth_weight(item: Deviation) -> float:
    """Factor from a latency's or resource's deviation as a log ratio to that of the ratio itself: 1 for a small one.

    Once several services are clearly slower, the one that grew most is the cause and the others inherit a part of it;
    logarithms and significance hardly distinguish them.
    """
    growth = item.log if item.kind in ("latency", "resource") else 0.0
    return math.expm1(growth) / growth if growth > 0 else 1.0


def mean_of_known(values: Floats) -> Floats:
    """Mean of each row without missing values; NaN for a row without any."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def reach(statistic: str, calls_per_request: float) -> float:
    """Share of what a statistic shows that calls in so many requests can cause.

    A mean moves with every call. A quantile q moves as a whole once 1 - q of the requests are slow.
    """
    quantile = quantile_of(statistic)
    if quantile is None or calls_per_request >= 1:
        return calls_per_request
    return min(1.0, calls_per_request / (1 - quantile))


def nearest(items: Sequence[Deviation], to: Deviation) -> Deviation:
    """The deviation that is the same statistic of the same metric, or the nearest to it."""

    def rank(item: Deviation) -> tuple[bool, float, float]:
        mine, other = quantile_of(item.statistic), quantile_of(to.statistic)
        distance = 0.0 if item.statistic == to.statistic else abs((mine or 0.6) - (other or 0.6)) + 0.01
        return item.metric != to.metric, distance, -item.z

    return min(items, key=rank, default=NONE)


def in_same_unit(one: Deviation, other: Deviation) -> bool:
    """Whether two latencies can be subtracted: of one metric, or both in seconds by their names."""
    return one.metric == other.metric or (one.metric.endswith("_seconds") and other.metric.endswith("_seconds"))
