"""Ownership in labels of metrics: an info metric, and labels of Deployments and pods from kube-state-metrics.

kube-state-metrics exports the labels that `--metric-labels-allowlist` names, each as `label_` and its name with other
characters as underscores (https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from foreshock_dashboard.model.query import MetricSource, Query
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.owners.ownership import MAX_TEXT, UNKNOWN, Ownerships, is_link

INFO_METRIC = "service_owner_info"
"""Labels: service_name, service_namespace, owner, tier, and `link_` with the name of a link."""
METRICS = (INFO_METRIC, "kube_deployment_labels", "kube_pod_labels")
"""The first that has a field wins."""
OWNER_LABELS = ("label_owner", "label_team", "label_app_kubernetes_io_owner", "label_app_kubernetes_io_team")
TIER_LABELS = ("label_tier", "label_service_tier")
APP_LABELS = ("label_app_kubernetes_io_name", "label_app")
WINDOW_SECONDS = 300.0
_POD_SUFFIX = re.compile(r"(-[a-z0-9]{6,10})?-[a-z0-9]{5}$|-\d+$")
"""Suffix of a pod's name: of its ReplicaSet and itself, or its number in a StatefulSet."""


def read_labels(source: MetricSource, metric: str, time: float) -> Ownerships:
    """Read the ownership of services from one of `METRICS` at a time (Unix seconds).

    Raises:
        SourceError: the source cannot answer.
    """
    known: dict[Service, Ownership] = {}
    matrix = source.fetch(Query(metric, by=None, window=WINDOW_SECONDS), time, time, 1.0)
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        if not np.isfinite(values).any():
            continue
        if (service := _service(metric, dict(labels))) is not None:
            known[service] = known.get(service, UNKNOWN).or_else(_ownership(dict(labels)))
    return {service: found for service, found in known.items() if found != UNKNOWN}


def _service(metric: str, labels: Mapping[str, str]) -> Service | None:
    if metric == INFO_METRIC:
        name, namespace = labels.get("service_name", ""), labels.get("service_namespace", "")
    elif metric == "kube_deployment_labels":
        name, namespace = labels.get("deployment", ""), labels.get("namespace", "")
    else:
        pod = _POD_SUFFIX.sub("", labels.get("pod", ""))
        name, namespace = next(_texts(labels, APP_LABELS), pod), labels.get("namespace", "")
    return Service(namespace, name) if name else None


def _ownership(labels: Mapping[str, str]) -> Ownership:
    links = (
        (name.removeprefix("link_"), url)
        for name, url in sorted(labels.items())
        if name.startswith("link_") and is_link(url)
    )
    owner, tier = next(_texts(labels, ("owner", *OWNER_LABELS)), ""), next(_texts(labels, ("tier", *TIER_LABELS)), "")
    return Ownership(owner, tier, tuple(links))


def _texts(labels: Mapping[str, str], names: tuple[str, ...]) -> Iterator[str]:
    """The usable values of labels; anyone who exports metrics chooses them."""
    return (text for name in names if (text := labels.get(name, "")) and len(text) <= MAX_TEXT and text.isprintable())
