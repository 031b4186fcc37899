"""Certificates, quotas, queues, and error budgets in a real Prometheus are slow burns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from tests.sources.prometheus.conftest import Row, backfill, running_prometheus

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.slow_burns.burns import slow_burns
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.replay.capacity_history import CapacityHistory
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.world.builder import catalog

HOUR, DAY, STEP = 3600.0, 86_400.0, 300.0
NOW = 1_796_034_600.0
CART, CHAT = Service("shop", "cart"), Service("serving", "llm-chat")
TIMES: Floats = np.arange(NOW - 8 * DAY, NOW + STEP, STEP)
HOURS: Floats = (TIMES - NOW) / HOUR


def at(days: float) -> Floats:
    """A gauge with the time so many days ahead."""
    return np.full(len(TIMES), NOW + days * DAY)


def rows() -> Iterator[Row]:
    """Two of each: one that ends this week, and one that does not."""
    blackbox = {"job": "blackbox"}
    yield "probe_ssl_earliest_cert_expiry", blackbox | {"instance": "https://shop.example.com/health"}, at(2)
    yield "probe_ssl_earliest_cert_expiry", blackbox | {"instance": "https://api.example.com"}, at(40)
    secret = {"job": "x509", "instance": "x509:9793", "secret_namespace": "ingress", "secret_name": "gateway-tls"}
    for serial, days in (("1", 5.0), ("2", 900.0)):  # a chain: the first to expire counts
        yield "x509_cert_not_after", secret | {"subject_CN": f"c{serial}", "serial_number": serial}, at(days)
    manager = {"job": "cert-manager", "namespace": "cert-manager", "exported_namespace": "serving"}
    expiry = "certmanager_certificate_expiration_timestamp_seconds"
    yield expiry, manager | {"name": "llm-gateway", "issuer_name": "ca"}, at(3)
    yield expiry, manager | {"name": "daily", "issuer_name": "ca"}, NOW + DAY + np.floor(HOURS / 6 + 1) * 6 * HOUR
    quota = {"job": "ksm", "namespace": "serving", "resourcequota": "team"}
    used = {"limits.memory": 70 + np.maximum(HOURS, -96) / 2.4, "requests.cpu": np.full(len(TIMES), 95.0)}
    for resource, values in used.items():
        yield "kube_resourcequota", quota | {"resource": resource, "type": "hard"}, np.full(len(TIMES), 100.0)
        yield "kube_resourcequota", quota | {"resource": resource, "type": "used"}, values
    yield "traefik_tls_certs_not_after", {"job": "traefik", "cn": "chat.example.com", "serial": "1"}, at(6)
    ingress = {"job": "ingress-nginx", "namespace": "ingress-nginx", "exported_namespace": "serving"}
    yield "nginx_ingress_controller_ssl_expire_time_seconds", ingress | {"host": "llm.example.com"}, at(4)
    node = {"job": "node", "instance": "10.0.0.3:9100"}
    yield "node_uname_info", node | {"nodename": "host-3"}, np.ones(len(TIMES))
    disk, growth = node | {"device": "/dev/nvme0n1p1", "fstype": "ext4"}, 70 + np.maximum(HOURS, -96) / 2.4
    mounts = {"/var/lib": (disk, growth), "/var/lib/kubelet": (disk, growth)}
    mounts |= {"/boot": (disk | {"device": "/dev/sda1"}, np.full(len(TIMES), 80.0))}
    mounts |= {"/run": (disk | {"fstype": "tmpfs"}, growth)}
    mounts |= {"/data": (disk | {"device": "10.0.0.9:/export", "fstype": "nfs4"}, growth)}
    claim = "/var/lib/kubelet/pods/1b4e/volumes/kubernetes.io~csi/pvc-7/mount"
    mounts |= {claim: (disk | {"device": "/dev/nvme1n1"}, growth)}
    for path, (labels, values) in mounts.items():
        yield "node_filesystem_size_bytes", labels | {"mountpoint": path}, np.full(len(TIMES), 100.0)
        yield "node_filesystem_avail_bytes", labels | {"mountpoint": path}, 100.0 - values
    busy = HOURS % 24 > 8
    for name, leaked in (("leaky", growth / 100), ("sound", 0 * HOURS)):
        server = {"job": "vllm", "instance": f"{name}:8000", "service_name": name, "service_namespace": "serving"}
        yield "vllm:num_requests_running", server, np.where(busy, 5.0, 0.0)
        yield "vllm:kv_cache_usage_perc", server, np.where(busy, leaked + 0.2, leaked)
    broker = {"job": "rabbitmq", "vhost": "/"}
    yield "rabbitmq_queue_messages_ready", broker | {"queue": "embeddings"}, 20 + np.maximum(0, HOURS + 8) * 40
    yield "rabbitmq_queue_messages_ready", broker | {"queue": "mail"}, 20 + 10 * np.sin(HOURS)
    server = {"job": "vllm", "instance": "chat-0:8000", "service_name": CHAT.name, "service_namespace": CHAT.namespace}
    yield "vllm:num_requests_waiting", server, np.maximum(0, HOURS + 6) * 12
    for service, failed, late in ((CART, 0.05, 0.02), (CHAT, 0.0, 0.2)):
        yield from spans(service, np.where(HOURS > -30, failed, 0.0), np.where(HOURS > -30, late, 0.0))


def spans(service: Service, failed: Floats, late: Floats) -> Iterator[Row]:
    """Span metrics of two requests per second, a share of which fails, or takes longer than 2 s."""
    of = {"job": "c", "service_name": service.name, "service_namespace": service.namespace}
    of |= {"span_kind": "SPAN_KIND_SERVER"}
    every = np.full(len(TIMES), 2.0)
    status = "status_code"
    yield "traces_span_metrics_calls_total", of | {status: "STATUS_CODE_UNSET"}, np.cumsum(every * (1 - failed)) * STEP
    yield "traces_span_metrics_calls_total", of | {status: "STATUS_CODE_ERROR"}, np.cumsum(every * failed) * STEP
    for bound, share in (("1.0", 0.9 - late), ("2.0", 1 - late), ("10.0", 1 + 0 * late), ("+Inf", 1 + 0 * late)):
        yield "traces_span_metrics_duration_seconds_bucket", of | {"le": bound}, np.cumsum(every * share) * STEP


@pytest.fixture(scope="module", name="found")
def _found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[SlowBurnKind, str], SlowBurn]:
    """The slow burns as a hub finds them, by kind and name."""
    folder = tmp_path_factory.mktemp("burns")
    backfill(folder, [*rows()], TIMES)
    slos = {CART: Slo(1.5, 0.01), CHAT: Slo(1.5, 0.01)}
    with running_prometheus(folder, "--storage.tsdb.retention.time=10y") as server:
        source = PrometheusSource(server.url)
        history = CapacityHistory(ClusterSource(source), catalog, seconds=8 * DAY, slos=slos)
        for _ in history.read(NOW):
            pass
        source.close()
    burns = slow_burns(history.end, history.uses(), history.budgets())
    assert all(first.at <= second.at for first, second in itertools.pairwise(burns))
    return {(burn.kind, f"{burn.service or ''}{burn.name}"): burn for burn in burns}


def test_only_what_ends_this_week_is_found(found: dict[tuple[SlowBurnKind, str], SlowBurn]) -> None:
    """Neither a certificate that is renewed every six hours, a full quota, a queue that drains, nor file systems that
    hosts share, or of pods."""
    assert set(found) == {
        (SlowBurnKind.CERTIFICATE, "shop.example.com/health"),
        (SlowBurnKind.CERTIFICATE, "ingress/gateway-tls"),
        (SlowBurnKind.CERTIFICATE, "serving/llm-gateway"),
        (SlowBurnKind.CERTIFICATE, "llm.example.com"),
        (SlowBurnKind.CERTIFICATE, "chat.example.com"),
        (SlowBurnKind.HOST_DISK, "host-3:/var/lib"),
        (SlowBurnKind.KV_CACHE, "serving/leaky"),
        (SlowBurnKind.QUOTA, "serving/team/limits.memory"),
        (SlowBurnKind.QUEUE, "embeddings"),
        (SlowBurnKind.QUEUE, "serving/llm-chat"),
        (SlowBurnKind.ERROR_BUDGET, "shop/cartavailability"),
        (SlowBurnKind.ERROR_BUDGET, "serving/llm-chatlatency"),
    }


@pytest.mark.parametrize(
    ("kind", "name", "hours", "tolerance"),
    [
        (SlowBurnKind.CERTIFICATE, "shop.example.com/health", 48.0, 0.1),
        (SlowBurnKind.CERTIFICATE, "ingress/gateway-tls", 120.0, 0.1),
        (SlowBurnKind.CERTIFICATE, "serving/llm-gateway", 72.0, 0.1),
        (SlowBurnKind.CERTIFICATE, "llm.example.com", 96.0, 0.1),
        (SlowBurnKind.CERTIFICATE, "chat.example.com", 144.0, 0.1),
        (SlowBurnKind.HOST_DISK, "host-3:/var/lib", 72.0, 1.0),
        (SlowBurnKind.KV_CACHE, "serving/leaky", 72.0, 17.0),
        (SlowBurnKind.QUOTA, "serving/team/limits.memory", 72.0, 1.0),
        (SlowBurnKind.QUEUE, "embeddings", 8.5, 1.0),
        (SlowBurnKind.QUEUE, "serving/llm-chat", 6.0, 1.0),
        # 30 h at a burn rate of 5, and at 4, of a budget of the eight days known: the rest lasts for the others.
        (SlowBurnKind.ERROR_BUDGET, "shop/cartavailability", 192 / 5 - 30, 1.0),
        (SlowBurnKind.ERROR_BUDGET, "serving/llm-chatlatency", 192 / 4 - 30, 1.0),
    ],
)
def test_the_time_is_that_of_the_data(
    found: dict[tuple[SlowBurnKind, str], SlowBurn], kind: SlowBurnKind, name: str, hours: float, tolerance: float
) -> None:
    assert (found[kind, name].at - NOW) / HOUR == pytest.approx(hours, abs=tolerance)
