"""Changes of a platform: deployments, settings, and drivers, as typed events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from foreshock_dashboard.model.service import Service

ChangeKind = Literal["deployment", "scaling", "configuration", "node", "driver", "gpu_configuration", "other"]
"""`deployment`: a version or an image. `scaling`: replicas and limits of an autoscaler. `configuration`: any other
setting of a service, or of the hub. `node`: a machine. `driver`: driver and CUDA of a host. `gpu_configuration`: MIG
layout, sharing, and power limit of a host's GPUs."""
Stage = Literal["", "canary", "rollback"]
"""`canary`: the version before keeps running beside it. `rollback`: to a version that ran before."""
CollectedSource = Literal["traces", "kubernetes", "exporter", "hub"]
"""Sources that the hub reads by itself."""
ReportSource = Literal["api", "grafana", "cloudevents", "github", "argocd"]
"""Senders that report changes to the hub."""
ChangeSource = CollectedSource | ReportSource
CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
STAGES: tuple[Stage, ...] = get_args(Stage)
CHANGE_SOURCES: tuple[ChangeSource, ...] = (*get_args(CollectedSource), *get_args(ReportSource))
REPORT_SOURCES: tuple[ReportSource, ...] = get_args(ReportSource)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a service, a host, or the whole platform (neither).

    Attributes:
        at: Unix seconds at which it began.
        setting: what changed where the kind does not say it, such as `max_replicas`; "" for a version.
        before, after: the value or the version; "" where unknown.
        title: text of the sender; "" for collected changes.
        link: an `http` or `https` address, or "".
        author: person or system that made it, or "".
        key: of the deployment at its sender, over all senders; "" without one. Reports with one key are of one change.
        revision: revision of its Deployment in Kubernetes before it, to which `kubectl rollout undo` goes back, or "".
        failed_at: Unix seconds at which its sender called the deployment failed; None if not. See `is_failure`.
    """

    at: float
    kind: ChangeKind
    service: Service | None = None
    host: str = ""
    setting: str = ""
    before: str = ""
    after: str = ""
    stage: Stage = ""
    source: ChangeSource = "api"
    title: str = ""
    link: str = ""
    author: str = ""
    key: str = ""
    revision: str = ""
    failed_at: float | None = None

    @property
    def subject(self) -> tuple[ChangeKind, Service | None, str, str]:
        """What changed: reports of one subject may be about one change."""
        return self.kind, self.service, self.host, self.setting

    @property
    def is_failure(self) -> bool:
        """Whether it only reports that the deployment with its key, which began before, failed."""
        return self.failed_at is not None and self.at >= self.failed_at
