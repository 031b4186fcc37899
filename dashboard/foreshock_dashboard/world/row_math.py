"""Helpers shared by all row builders: label lookups, and arithmetic in which NaN is absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.common.series_index import Hashes, IntArray, label_hashes
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified, split_cluster
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row import LabelMap

K = TypeVar("K")
V = TypeVar("V")


class LabelFacts(Generic[K, V]):
    """Facts that series state by their labels alone; the newest fact by key."""

    def __init__(self, read: Callable[[LabelMap], tuple[K, V] | None]) -> None:
        self.facts: dict[K, V] = {}
        self._read = read
        self._hashes: Hashes = np.empty(0, np.int64)

    def update(self, *matrices: Matrix) -> bool:
        """Add the facts of new series; return whether any fact changed."""
        labels = [*chain.from_iterable(matrix.labels for matrix in matrices)]
        now = np.concatenate([label_hashes(matrix.labels) for matrix in matrices])
        fresh = np.flatnonzero(np.isin(now, self._hashes, invert=True))
        self._hashes = now
        facts = dict(filter(None, (self._read(dict(labels[i])) for i in fresh.tolist())))
        changed = any(self.facts.get(key) != value for key, value in facts.items())
        self.facts |= facts
        return changed


def service_at(labels: Mapping[str, str], role: str = "service") -> Service:
    """Service of the labels `<role>_name` and `<role>_namespace`."""
    return Service(labels.get(f"{role}_namespace", ""), labels.get(f"{role}_name", ""))


def service_of(labels: LabelMap) -> Service | None:
    """The service named by labels, or None."""
    service = service_at(labels)
    return service if service.name else None


def service_of_job(labels: LabelMap) -> Service | None:
    """The service named by a job, `namespace/name` or `name` (OpenTelemetry's compatibility with Prometheus)."""
    namespace, _, name = (labels.get("exported_job") or labels.get("job", "")).rpartition("/")
    return Service(qualified(labels.get(CLUSTER_LABEL, ""), namespace), name) if name else None


class ServiceNames:
    """Services by name, in each cluster."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._by_name: dict[tuple[str, str], list[Service]] = {}
        for service in services:
            self._by_name.setdefault((service.cluster, service.name), []).append(service)

    def find(self, namespace: str, name: str) -> Service | None:
        """The service of this name: with this namespace, else the only one in its cluster."""
        same = self.named(namespace, name)
        exact = Service(namespace, name)
        return exact if exact in same else same[0] if len(same) == 1 else None

    def find_certain(self, namespace: str, name: str) -> Service | None:
        """The service that `find` returns, unless it is known to be in another namespace."""
        found = self.find(namespace, name)
        asked = split_cluster(namespace)[1]
        return found if found and (not asked or found.local.namespace in ("", asked)) else None

    def named(self, namespace: str, name: str) -> tuple[Service, ...]:
        """All services of this name in the cluster of the namespace."""
        return tuple(self._by_name.get((split_cluster(namespace)[0], name), ()))


def last_sample_time(matrix: Matrix) -> float:
    """Unix seconds of the last sample; -inf without one."""
    known = np.flatnonzero(~np.isnan(matrix.values).all(axis=0)) if len(matrix) else np.empty(0, np.intp)
    return float(matrix.times[known[-1]]) if len(known) else -np.inf


def clipped_share(values: Floats) -> Floats:
    """A share of time, clipped at 1: extrapolation can exceed it a little."""
    return np.minimum(values, 1.0)


def safe_ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole; NaN where `whole` is not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def sums_by_group(rows: Floats, of: IntArray, count: int) -> Floats:
    """Sum of the rows of each of `count` groups, `of` being the group of each row; NaN without a sample."""
    out, known = np.zeros((count, rows.shape[1])), np.zeros((count, rows.shape[1]), bool)
    np.add.at(out, of, np.nan_to_num(rows))
    np.logical_or.at(known, of, ~np.isnan(rows))
    return np.where(known, out, np.nan)
