"""Changes of a platform: deployments, settings, and drivers, as typed events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
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
REPORT_SOURCES: tuple[ReportSource, ...] = get_args(ReportSource)

SAME_CHANGE_SECONDS = 600.0
"""Longest time between two reports of one change: the rolling update of a Deployment fails after as long without
progress (`progressDeadlineSeconds`), and a pipeline reports a deployment before its first span arrives."""
MAX_CHANGES = 1000
"""Changes that are kept, the newest ones."""


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

    @property
    def subject(self) -> tuple[ChangeKind, Service | None, str, str]:
        """What changed: reports of one subject may be about one change."""
        return self.kind, self.service, self.host, self.setting


def merged_changes(
    changes: Iterable[Change], aliases: Mapping[Service, Service] = MappingProxyType({}), limit: int = MAX_CHANGES
) -> tuple[Change, ...]:
    """The changes by time, each once, at most `limit` (the newest).

    Reports of one subject with the same value within `SAME_CHANGE_SECONDS` of the first are one change: ten pods of a
    Deployment, or two hubs. So are deployments of one service that different sources report, each with its own name of
    the version: a pipeline, the image, and the spans. A change begins with its first report, and each later one fills
    in what the earlier ones lack. aliases: the service that a name without a namespace stands for.
    """
    merged: list[Change] = []
    sources: list[set[ChangeSource]] = []
    newest: dict[tuple[object, ...], int] = {}
    for change in sorted(changes, key=_order):
        named = replace(change, service=aliases.get(change.service, change.service)) if change.service else change
        is_deployment = named.kind == "deployment" and named.service is not None
        keys = [(*named.subject, named.after or named.title), *([named.subject[:2]] if is_deployment else [])]
        known = [newest[key] for key in keys if key in newest]
        same = [
            number
            for number in known
            if named.at - merged[number].at <= SAME_CHANGE_SECONDS
            and (named.source not in sources[number] or named.after == merged[number].after)
        ]
        if same:
            number = same[0]
            merged[number] = _filled(merged[number], named)
            sources[number].add(named.source)
        else:
            number = len(merged)
            merged.append(named)
            sources.append({named.source})
        newest |= dict.fromkeys(keys, number)
    return tuple(merged[-limit:] if limit else ())


def _order(change: Change) -> tuple[object, ...]:
    service = change.service or Service("", "")
    return change.at, change.kind, service, change.host, change.setting, change.after, change.source, change.title


def _filled(first: Change, later: Change) -> Change:
    """The first report with what only the later one has, and with the version as the spans name it."""
    version = later if later.source == "traces" else first
    other = first if version is later else later
    return replace(
        first,
        before=version.before or (other.before if other.before != version.after else ""),
        after=version.after or other.after,
        stage=first.stage or later.stage,
        title=first.title or later.title,
        link=first.link or later.link,
        author=first.author or later.author,
    )


def service_aliases(services: Iterable[Service]) -> Mapping[Service, Service]:
    """The service that each name without a namespace stands for, where only one service has that name."""
    by_name: dict[str, list[Service]] = {}
    for service in services:
        by_name.setdefault(service.name, []).append(service)
    return {Service("", name): found[0] for name, found in by_name.items() if len(found) == 1 and found[0].namespace}
