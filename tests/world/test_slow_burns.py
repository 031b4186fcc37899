"""Requests that violate an SLO, and certificates, as exporters report them over time."""

from __future__ import annotations

import re

import numpy as np
import pytest

from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row import RateWindows, Readings
from foreshock_dashboard.world.slow_burns import host_disks, named
from foreshock_dashboard.world.slow_burns.slo_counts import KEYS, SloCount, slo_counts

CART, NAN = Service("shop", "cart"), np.nan
TIMES: Floats = 1_767_571_200.0 + 600.0 * np.arange(4, dtype=np.float64)
WINDOW = 600.0


def of_buckets(rows: dict[str, list[float]]) -> Readings:
    """Requests per window up to each bound."""
    labels = tuple((("le", le), ("service_name", CART.name), ("service_namespace", CART.namespace)) for le in rows)
    empty = dict.fromkeys(KEYS, Matrix.empty(TIMES))
    return empty | {"served_seconds": Matrix(TIMES, labels, np.array([*rows.values()]))}


@pytest.mark.parametrize(
    ("rows", "violations"),
    [
        pytest.param(
            {
                "0.25": [500.0] * 4,
                "0.4": [NAN, NAN, 580.0, 580.0],
                "0.5": [590.0] * 4,
                "+Inf": [600.0] * 4,
            },
            [10.0, 10.0, 20.0, 20.0],
            id="a deploy adds a bucket",
        ),
        pytest.param(
            {
                "0.25": [500.0] * 4,
                "0.4": [NAN, NAN, 58.0, 58.0],
                "0.5": [590.0] * 4,
                "+Inf": [600.0] * 4,
            },
            [10.0] * 4,
            id="a canary has another bucket",
        ),
        pytest.param(
            {"0.25": [500.0] * 4, "0.5": [NAN, 590.0, 590.0, NAN], "+Inf": [600.0] * 4},
            [NAN, 10.0, 10.0, NAN],
            id="no bucket",
        ),
        pytest.param({"0.5": [6.0, 0.0, NAN, 6.0], "+Inf": [6.0, 0.0, NAN, 6.0]}, [0, 0, NAN, 0], id="all fast"),
    ],
)
def test_the_bucket_of_a_target_is_one_that_all_servers_have_then(
    rows: dict[str, list[float]], violations: list[float]
) -> None:
    """Without one, neither the violations nor the requests are known: they would all be violations."""
    found = slo_counts(of_buckets(rows), {CART: 0.4}, WINDOW)
    late = found[SloCount(CART, "latency", violations=True)]
    requests = found[SloCount(CART, "latency", violations=False)]
    np.testing.assert_allclose(late * WINDOW, violations)
    np.testing.assert_array_equal(np.isnan(requests), np.isnan(violations))


def test_a_target_beyond_all_buckets_has_no_counts() -> None:
    assert slo_counts(of_buckets({"0.25": [1.0] * 4, "+Inf": [2.0] * 4}), {CART: 0.4}, WINDOW) == {}


@pytest.mark.parametrize(
    ("metric", "unknown"),
    [
        pytest.param("certmanager_certificate_expiration_timestamp_seconds", 0.0, id="not issued yet"),
        pytest.param("probe_ssl_earliest_cert_expiry", -62_135_596_800.0, id="no certificate"),
    ],
)
def test_a_certificate_that_does_not_exist_yet_has_no_end(metric: str, unknown: float) -> None:
    """It then expires in two days."""
    until = TIMES[-1] + 2 * 86_400
    labels = (("instance", "a"), ("name", "a"), ("namespace", "a"))
    matrix = Matrix(TIMES, (labels,), np.array([[unknown, unknown, until, until]]))
    ((key, left),) = named.observed({metric: matrix}).items()
    assert key[0] is SlowBurnKind.CERTIFICATE
    np.testing.assert_array_equal(np.isnan(left), [True, True, False, False])
    assert left[-1] == 2 * 86_400


@pytest.mark.parametrize(
    ("fstype", "path", "is_read"),
    [
        *((fstype, "/data", True) for fstype in ("ext4", "xfs", "btrfs", "zfs", "vfat", "fuseblk")),
        *((fstype, "/data", False) for fstype in ("tmpfs", "overlay", "squashfs")),
        *((fstype, "/data", False) for fstype in ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "gpfs", "beegfs")),
        *((fstype, "/data", False) for fstype in ("fuse", "fuse.juicefs", "fuse.gcsfuse", "virtiofs", "9p", "wekafs")),
        ("ext4", "/var/lib/kubelet", True),
        ("ext4", "/var/lib/kubelet/pods/1b4e/volumes/kubernetes.io~csi/pvc-7/mount", False),
        ("ext4", "/var/snap/microk8s/common/var/lib/kubelet/plugins/kubernetes.io/csi/d/globalmount", False),
    ],
)
def test_only_local_file_systems_of_the_host_itself_are_its_disks(fstype: str, path: str, is_read: bool) -> None:
    """One that hosts share would fill up on each of them, and that of a claim is also the volume of a service."""
    labels = {"fstype": fstype, "mountpoint": path}
    for reading in host_disks.readings(RateWindows(WINDOW, WINDOW)).values():
        matchers = reading.ways[0].query.matchers
        assert {matcher.op for matcher in matchers} == {"!~"}
        is_excluded = any(re.fullmatch(item.value, labels[item.label]) for item in matchers)
        assert is_excluded is not is_read
