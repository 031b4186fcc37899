"""Certificates, quotas of namespaces, and message queues, found by the names of their metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.model.service import CLUSTER_LABEL, qualified
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.cluster import GPU_REQUESTS, NAMESPACE_LABELS
from foreshock_dashboard.world.row import Catalog, LabelMap, RateWindows, Readings, row
from foreshock_dashboard.world.row_math import safe_ratio


class Named(NamedTuple):
    """A metric, and the labels that name its things: the first group that has values."""

    kind: SlowBurnKind
    metric: str
    names: tuple[tuple[str, ...], ...]
    lost: str


_QUOTA_NAMES = tuple((namespace, "resourcequota", "resource") for namespace in reversed(NAMESPACE_LABELS))
NAMED = (
    Named(SlowBurnKind.CERTIFICATE, "probe_ssl_earliest_cert_expiry", (("instance",),), "certificates of probed URLs"),
    Named(
        SlowBurnKind.CERTIFICATE,
        "x509_cert_not_after",
        (("secret_namespace", "secret_name"), ("instance", "filepath"), ("instance", "subject_CN")),
        "certificates in files and secrets",
    ),
    Named(
        SlowBurnKind.CERTIFICATE,
        "certmanager_certificate_expiration_timestamp_seconds",
        (("exported_namespace", "name"), ("namespace", "name")),
        "certificates of cert-manager",
    ),
    Named(
        SlowBurnKind.CERTIFICATE,
        "nginx_ingress_controller_ssl_expire_time_seconds",
        (("host",),),
        "certificates of ingress-nginx",
    ),
    Named(SlowBurnKind.CERTIFICATE, "traefik_tls_certs_not_after", (("cn",), ("sans",)), "certificates of Traefik"),
    Named(SlowBurnKind.QUOTA, "kube_resourcequota", _QUOTA_NAMES, "quotas of namespaces"),
    Named(SlowBurnKind.QUEUE, "rabbitmq_queue_messages_ready", (("vhost", "queue"), ("queue",)), "queues of RabbitMQ"),
    Named(SlowBurnKind.QUEUE, "kafka_consumergroup_lag", (("consumergroup", "topic"),), "consumer lag of Kafka"),
)
"""Exporters: blackbox_exporter, x509-certificate-exporter, cert-manager, ingress-nginx, Traefik, kube-state-metrics,
the RabbitMQ plugin rabbitmq_prometheus (queues by object), and kafka_exporter. Certificates are gauges in Unix seconds;
cert-manager says 0 before one is issued, and blackbox_exporter a time before 1970 without any."""
_SCHEME = re.compile("^[a-z][a-z0-9+.-]*://")


_NO_GPUS = Matcher("resource", "!=", GPU_REQUESTS.value)
"""GPUs of a quota are a load of their pool."""


def readings(windows: RateWindows) -> Catalog:
    """Readings by metric."""
    return {item.metric: row(item.lost, _query(windows, item)) for item in NAMED}


def certificate_metrics() -> frozenset[str]:
    """The metrics of certificates."""
    return frozenset(item.metric for item in NAMED if item.kind is SlowBurnKind.CERTIFICATE)


def _query(windows: RateWindows, item: Named) -> Query:
    if item.kind is SlowBurnKind.CERTIFICATE:  # all labels, because a sum of expiry times is none
        return replace(windows.last(item.metric, ()), by=None)
    by = tuple(dict.fromkeys(label for group in item.names for label in group))
    if item.kind is SlowBurnKind.QUOTA:
        return windows.last(item.metric, (*by, "type"), _NO_GPUS)
    return windows.last(item.metric, by)


def observed(found: Readings) -> Mapping[tuple[SlowBurnKind, str], Floats]:
    """Rows by kind and name: seconds until a certificate expires, used share of a quota, and messages in a queue.

    Of several certificates of one name, such as those of a chain, the first to expire counts. found: of some or all of
    `NAMED`.
    """
    rows: dict[tuple[SlowBurnKind, str], Floats] = {}
    for item in (item for item in NAMED if item.metric in found):
        matrix = found[item.metric]
        if item.kind is SlowBurnKind.QUOTA:
            rows |= _shares(item, matrix)
            continue
        for labels, values in zip(matrix.labels, matrix.values, strict=True):
            key = item.kind, _name(item, dict(labels))
            if item.kind is SlowBurnKind.CERTIFICATE:
                values = np.where(values > 0, values - matrix.times, np.nan)
            if key[1]:
                rows[key] = np.fmin(rows.get(key, np.full_like(values, np.nan)), values)
    return rows


def _shares(item: Named, matrix: Matrix) -> Mapping[tuple[SlowBurnKind, str], Floats]:
    of: dict[str, dict[str, Floats]] = {"used": {}, "hard": {}}
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        known = dict(labels)
        name = _name(item, known)
        if name and known.get("type") in of:
            of[known["type"]][name] = values
    used, hard = of.values()
    return {(item.kind, name): safe_ratio(used[name], hard[name]) for name in used if name in hard}


def _name(item: Named, labels: LabelMap) -> str:
    """`cluster//part/part`, without the scheme of a URL; "" where no group has values."""
    cluster = labels.get(CLUSTER_LABEL, "")
    for group in item.names:
        parts = [labels.get(label, "").removeprefix(qualified(cluster, "")) for label in group]
        if all(parts):
            name = re.sub("/{2,}", "/", "/".join(_SCHEME.sub("", part) for part in parts)).strip("/")
            return qualified(cluster, name)
    return ""
