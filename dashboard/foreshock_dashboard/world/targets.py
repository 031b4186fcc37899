"""Scrape targets: which are up, the age of their last scrape, and the service that answers there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import numpy as np

from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.common.series_index import IntArray, SeriesIndex
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified, split_cluster
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Target
from foreshock_dashboard.world.row import (
    POD_LABELS,
    POD_NAMESPACE_LABELS,
    SERVICE_LABELS,
    TARGET_LABELS,
    CatalogRow,
    Producer,
    RateWindows,
    row,
)
from foreshock_dashboard.world.row_math import service_of, service_of_job

Address = tuple[str, str]
"""(job, instance)."""
OWN_JOB_PREFIX = "foreshock"
"""Prefix of the jobs that scrape Foreshock itself."""

AMBIGUOUS_SECONDS = 300.0
"""Time for which a service that answered at a place keeps another one from being the only one there."""
KEPT_SECONDS = 900.0
"""Time without samples after which nothing answers at a place, since addresses of pods recur."""
MAX_PLACES = 100_000
"""Addresses and pods remembered."""
_PLACE_LABELS = ("server_address", "server_port", "k8s_pod_uid", "k8s_pod_name", "k8s_namespace_name")
_INFO_LABELS = (
    *("exported_job", "exported_instance", *TARGET_LABELS),
    *dict.fromkeys((*_PLACE_LABELS, *POD_LABELS, *POD_NAMESPACE_LABELS, *SERVICE_LABELS)),
)
_SCRAPE_LABELS = ("instance", "pod", "exported_namespace", "namespace")
"""Labels that say where a series was scraped: not where its service answers, if that is not the target itself."""
_LOOPBACK = "localhost"

Place = tuple[str, str]
"""Namespace and name of a pod, or `ADDRESS` and `host:port`, or `UID` and the UID of a pod."""
ADDRESS, UID, ANY_NAMESPACE = ":address", ":uid", ":any"


def places_row(windows: RateWindows) -> CatalogRow:
    """Where services answer: series that the hub makes of spans, and the resources of OTLP metrics and of Tempo."""
    own = windows.last("foreshock_service_address_spans_total", (*SERVICE_LABELS, *_PLACE_LABELS))
    infos = (Producer(windows.last(name, _INFO_LABELS)) for name in ("target_info", "traces_target_info"))
    return row("services of model servers", own, also=tuple(infos))


class ServicePlaces:
    """The services that answered lately at an address, or in a pod."""

    def __init__(self) -> None:
        self._seen: dict[Place, dict[Service, float]] = {}  # Unix seconds of the last sample, the oldest place first
        self._newest = -np.inf
        self._read: dict[Labels, tuple[Service | None, tuple[Place, ...]]] = {}

    def update(self, places: Matrix) -> bool:
        """Add new samples; return whether other services answer anywhere."""
        known = ~np.isnan(places.values)
        read: dict[Labels, tuple[Service | None, tuple[Place, ...]]] = {}
        present = np.flatnonzero(known.any(axis=1))
        newest = places.times[len(places.times) - 1 - known[present, ::-1].argmax(axis=1)]
        changed, order = False, newest.argsort(kind="stable")
        for number, at in zip(present[order].tolist(), newest[order].tolist(), strict=True):
            labels = places.labels[number]
            service, named = read[labels] = self._read.get(labels) or _places(dict(labels))
            if service is None:
                continue
            for place in named:
                before = self._seen.pop(place, {})
                seen = {**before, service: at}
                self._seen[place] = {each: last for each, last in seen.items() if last >= at - AMBIGUOUS_SECONDS}
                changed |= self._seen[place].keys() != before.keys()
            self._newest = max(self._newest, at)
        self._read = read
        while self._seen and (len(self._seen) > MAX_PLACES or self._is_gone(next(iter(self._seen)))):
            del self._seen[next(iter(self._seen))]
            changed = True
        return changed

    def service_at(self, labels: Mapping[str, str]) -> Service | None:
        """The only service in the pod, or at the `instance`, of a series. Loopback addresses differ by host."""
        found = (self._seen.get(place, {}) for place in _places_of(labels) if not _is_loopback(place))
        return next((next(iter(seen)) for seen in found if len(seen) == 1), None)

    def services_at(self, labels: Mapping[str, str]) -> tuple[Service, ...]:
        """All services that answered lately at the first known place of a series."""
        return next((tuple(sorted(self._seen[place])) for place in _places_of(labels) if place in self._seen), ())

    def _is_gone(self, place: Place) -> bool:
        return max(self._seen[place].values()) < self._newest - KEPT_SECONDS


def _places(labels: Mapping[str, str]) -> tuple[Service | None, tuple[Place, ...]]:
    """The service that a series names, by its labels or the job of a `target_info`, and where it answers."""
    service = service_of(labels) or service_of_job(labels)
    if labels.get("exported_job"):
        labels = {name: value for name, value in labels.items() if name not in _SCRAPE_LABELS}
    places = list(_pods_of(labels))
    if places and (any_namespace := _any_namespace(places[0][0])):
        places.append((any_namespace, places[0][1]))
    address = f"{labels.get('server_address', '')}:{labels.get('server_port', '')}"
    instance = labels.get("exported_instance") or labels.get("instance", "")
    found = (_address(text) for text in (qualified(labels.get(CLUSTER_LABEL, ""), address), instance))
    return service, (*places, *((ADDRESS, text) for text in found if text))


def _places_of(labels: Mapping[str, str]) -> Iterator[Place]:
    """Where a series was scraped, the surest place first."""
    for namespace, pod in _pods_of(labels):
        yield namespace, pod
        cluster, local = split_cluster(namespace)
        yield qualified(cluster, "" if local else ANY_NAMESPACE), pod
    if instance := _address(labels.get("instance", "")):
        yield ADDRESS, instance


def _pods_of(labels: Mapping[str, str]) -> Iterator[Place]:
    pod, namespace = (
        next(filter(None, map(labels.get, names)), "") for names in (POD_LABELS[::-1], POD_NAMESPACE_LABELS)
    )
    if pod:
        yield namespace or qualified(labels.get(CLUSTER_LABEL, ""), ""), pod
    if uid := labels.get("k8s_pod_uid"):
        yield UID, uid


def _any_namespace(namespace: str) -> str:
    """The namespace for a pod whose own is not known, in the cluster of a known one; "" if it has none."""
    cluster, local = split_cluster(namespace)
    return qualified(cluster, ANY_NAMESPACE) if local else ""


def _address(text: str) -> str:
    """`host:port` in one spelling: all loopback addresses are `localhost`; "" if the text is no address."""
    cluster, local = split_cluster(text)
    host, _, port = local.rpartition(":")
    host = host.strip("[]").rstrip(".").lower()
    if not host or not port.isdecimal():
        return ""
    return qualified(cluster, f"{_LOOPBACK if is_loopback(host) else host}:{port}")


def _is_loopback(place: Place) -> bool:
    return place[0] == ADDRESS and split_cluster(place[1])[1].startswith(f"{_LOOPBACK}:")


def target_of(labels: Mapping[str, str]) -> Address:
    """Scrape target of a series."""
    return labels.get("job", ""), labels.get("instance", "")


class Targets:
    """Last scrape of every target, and whether it was up."""

    def __init__(self) -> None:
        self._numbers: dict[Address, int] = {}
        self._index = SeriesIndex(lambda labels: (self.intern(dict(labels)),), 1)
        self._last_sample: Floats = np.empty(0)
        self._up: Floats = np.empty(0)
        self._now: Bools = np.empty((0, 0), bool)

    def intern(self, labels: Mapping[str, str]) -> int:
        """Number of the target of a series; a new target gets the next one."""
        return self._numbers.setdefault(target_of(labels), len(self._numbers))

    def update(self, up: Matrix) -> None:
        """Add the samples of `up`."""
        self._index.update(up.labels)
        numbers = self._index.numbers[:, 0]
        more = len(self._numbers) - len(self._last_sample)
        self._last_sample = np.concatenate([self._last_sample, np.full(more, -np.inf)])
        self._up = np.concatenate([self._up, np.full(more, np.nan)])
        self._now = np.repeat(self._last_sample[:, None] == -np.inf, len(up.times), axis=1)
        self._now[numbers] = up.values > 0
        known = ~np.isnan(up.values)
        present = known.any(axis=1)
        newest = len(up.times) - 1 - known[present, ::-1].argmax(axis=1)
        self._last_sample[numbers[present]] = up.times[newest]
        self._up[numbers[present]] = up.values[present, newest]

    def is_up(self, numbers: IntArray) -> Bools:
        """Whether targets were up, shape (targets, times). A target without `up` samples counts as up."""
        more = len(self._numbers) - len(self._now)
        now = np.concatenate([self._now, np.ones((more, self._now.shape[1]), bool)]) if more else self._now
        return now[numbers]

    def fresh_targets(self, known: Set[Address], since: float, now: float) -> tuple[Target, ...]:
        """Targets with an `up` sample at `since` or later, by instance and job; ages as of `now` (Unix seconds).

        Only those in `known`, because the Prometheus of a fleet scrapes many others, and jobs that start with
        `OWN_JOB_PREFIX`, always.
        """
        return tuple(
            Target(instance, job, bool(self._up[number] > 0), now - float(self._last_sample[number]))
            for (job, instance), number in sorted(self._numbers.items(), key=lambda item: item[0][::-1])
            if ((job, instance) in known or job.startswith(OWN_JOB_PREFIX)) and self._is_fresh(number, since)
        )

    def _is_fresh(self, number: int, since: float) -> bool:
        return number < len(self._last_sample) and self._last_sample[number] >= since
