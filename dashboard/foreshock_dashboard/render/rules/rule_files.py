"""The shipped Prometheus rules for one fleet: its addresses, its job names, and the groups that it wants."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from foreshock_dashboard.render.rules.by_cluster import alertmanager_by_cluster, by_cluster

HUB_URL = "http://127.0.0.1:8050"
"""Address of the hub in the shipped files: a placeholder that works where everything runs on one host."""
RUNBOOK_URL = f"{HUB_URL}/runbooks"
"""Address of the runbooks in the shipped files: the hub serves them."""
HUB_JOB, EXPORTER_JOB = "foreshock-hub", "foreshock-exporter"
GROUPS = ("capacity", "cascade", "contention", "exporter", "hardware", "hub", "incidents", "network", "slo")
"""Groups that can be left out. The recording rules of `services` stay, because the other groups use them."""


class Fleet(NamedTuple):
    """What differs between fleets. without: groups to leave out, of `GROUPS`. cluster_label: by which rules group."""

    hub_url: str = HUB_URL
    runbook_url: str = RUNBOOK_URL
    hub_job: str = HUB_JOB
    exporter_job: str = EXPORTER_JOB
    without: Collection[str] = ()
    cluster_label: str = ""


def rule_files(shipped: Mapping[str, str], fleet: Fleet) -> dict[str, str]:
    """The files for a fleet. shipped: texts of alerts/*.yml by name."""
    changes = (
        (RUNBOOK_URL, fleet.runbook_url),
        (HUB_URL, fleet.hub_url),
        (f'job="{HUB_JOB}"', f'job="{fleet.hub_job}"'),
        (f'job="{EXPORTER_JOB}"', f'job="{fleet.exporter_job}"'),
    )
    left_out = {f"{group}.rules.yml" for group in fleet.without}
    files = {name: text for name, text in shipped.items() if name not in left_out}
    for name, text in files.items():
        for old, new in changes:
            text = text.replace(old, new)
        if fleet.cluster_label:
            grouped = by_cluster if name.endswith(".rules.yml") else alertmanager_by_cluster
            text = grouped(text, fleet.cluster_label)
        files[name] = text
    return files
