"""Used share of the local file systems of hosts, by host and mount point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row import TARGET_LABELS, Catalog, RateWindows, Readings, row
from foreshock_dashboard.world.row_math import clipped_share, safe_ratio
from foreshock_dashboard.world.targets import target_of

AVAILABLE, SIZE = "node_filesystem_avail_bytes", "node_filesystem_size_bytes"
_LOCAL = Matcher(
    "fstype",
    "!~",
    "autofs|iso9660|nsfs|overlay|ramfs|rootfs|squashfs|tmpfs"
    "|9p|afs|beegfs.*|ceph|cifs|fuse([.].+)?|gfs2?|glusterfs|gpfs|lustre|nfs4?|ocfs2|panfs|pvfs2|smb.*|virtiofs|wekafs",
)
"""File systems with data of their own: an overlay is that of the host below it, and one that hosts share would fill up
on all of them at once. fuseblk, a local disk, is read."""
_OF_HOST = Matcher("mountpoint", "!~", ".*/kubelet/(pods|plugins)/.+")
"""Mounts of the kubelet are volumes of pods: the kubelet reports those by claim, and so by service."""


class Mount(NamedTuple):
    """A mount point of a host. Two exporters of one host are copies of each other."""

    host: str
    path: str


def readings(windows: RateWindows) -> Catalog:
    """Readings by metric. Names: node_exporter's collector filesystem."""
    labels = (*TARGET_LABELS, "device", "mountpoint")
    return {
        metric: row("disks of hosts", windows.last(metric, labels, _LOCAL, _OF_HOST)) for metric in (AVAILABLE, SIZE)
    }


def observed(found: Readings) -> Mapping[Mount, Floats]:
    """Used share, 0 to 1, of each device at its shortest mount point; what others can use counts as free.

    found: of both metrics, and `host`, the names of targets.
    """
    facts = (dict(labels) for labels in found["host"].labels)
    names = {target_of(labels): labels["host_name"] for labels in facts if labels.get("host_name")}
    sizes = dict(zip(found[SIZE].labels, found[SIZE].values, strict=True))
    rows: dict[Mount, Floats] = {}
    of_device: dict[tuple[str, str], Mount] = {}
    for pairs, available in zip(found[AVAILABLE].labels, found[AVAILABLE].values, strict=True):
        if pairs not in sizes:
            continue
        labels = dict(pairs)
        target = target_of(labels)
        mount = Mount(names.get(target) or re.sub(r":\d+$", "", target[1]), labels.get("mountpoint", ""))
        rows[mount] = np.fmax(rows.get(mount, np.nan), 1.0 - clipped_share(safe_ratio(available, sizes[pairs])))
        device = mount.host, labels.get("device", "")
        shortest = of_device.get(device, mount)
        of_device[device] = min(shortest, mount, key=lambda item: (len(item.path), item.path))
    return {mount: rows[mount] for mount in of_device.values()}
