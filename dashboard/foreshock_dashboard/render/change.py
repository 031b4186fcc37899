"""Changes in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foreshock_dashboard.model.change import REPORT_SOURCES, Change, ChangeKind, ChangeSource, Stage
from foreshock_dashboard.render.clause import Text, joined, joined_text, place, text
from foreshock_dashboard.render.units import elapsed

CHANGE_SIGN = "Δ"
"""Sign of a change on charts; that of `assets/timeline/signs.js`."""
CHANGE_KINDS: Mapping[ChangeKind, str] = {
    "deployment": "Deployment",
    "scaling": "Scaling",
    "configuration": "Configuration",
    "node": "Node",
    "driver": "Driver",
    "gpu_configuration": "GPU configuration",
    "other": "Other",
}
CHANGE_SOURCES: Mapping[ChangeSource, str] = {
    "traces": "spans",
    "kubernetes": "kube-state-metrics",
    "exporter": "the exporter",
    "hub": "the hub",
    "api": "the API",
    "grafana": "a Grafana annotation",
    "cloudevents": "a CloudEvent",
    "github": "GitHub",
    "argocd": "Argo CD",
}
SETTINGS: Mapping[str, str] = {
    "application_clock": "application clock (MHz)",
    "cuda": "CUDA",
    "driver": "driver",
    "generation": "specification",
    "max_replicas": "HPA maximum",
    "mig_layout": "MIG layout",
    "min_replicas": "autoscaler minimum",
    "power_limit": "power limit (W)",
    "replicas": "replicas",
    "sharing": "GPU sharing",
}
"""Settings by name; others are shown as they are."""
STAGES: Mapping[Stage, str] = {"": "", "canary": "canary", "rollback": "rollback"}
FAILED = "failed"
SEEN_LATE_SECONDS = 90.0
"""How much later than its effect a change may be seen, so that it was at the first anomaly."""
DONE: Mapping[ChangeKind, str] = {"deployment": "deployed"}
"""What happened, by kind; else `changed`."""


def change_clauses(change: Change) -> Text:
    """What changed: `llm-chat 1.4.1 → 1.4.2 (canary)`, `web HPA maximum 8 → 6`, `node gpu-7 added`."""
    if change.kind == "node" and not change.before:
        return text("node ", place(change.host or change.after), " added")
    setting = SETTINGS.get(change.setting, change.setting)
    values = " → ".join(filter(None, (change.before, change.after)))
    what = " ".join(filter(None, (setting, values))) or change.title or CHANGE_KINDS[change.kind].lower()
    states = ", ".join(filter(None, (STAGES[change.stage], FAILED if change.failed_at is not None else "")))
    stage = f" ({states})" if states else ""
    subject = (change.service, " ") if change.service else (place(change.host), " ") if change.host else ()
    return text(*subject, what, stage)


def change_text(change: Change) -> str:
    """`change_clauses` as one text."""
    return joined_text(change_clauses(change))


def change_details(change: Change) -> str:
    """What is known besides the change: `deploy to prod, by ada, reported by GitHub`; "" for nothing."""
    return ", ".join(
        filter(
            None,
            (
                change.title if change.title not in change_text(change) else "",
                f"by {change.author}" if change.author else "",
                f"{'reported by' if change.source in REPORT_SOURCES else 'read from'} {CHANGE_SOURCES[change.source]}",
            ),
        )
    )


def change_tooltip(change: Change) -> str:
    """`llm-chat 1.4.1 → 1.4.2 (deploy to prod, by ada, reported by GitHub)`."""
    return f"{change_text(change)} ({change_details(change)})"


def recent_change_clauses(change: Change, since: float) -> Text:
    """A change before what began at `since`: `llm-chat 1.4.1 → 1.4.2, 3 min before the first anomaly`."""
    return text(*change_clauses(change), f", {_when(change, since)}")


def _when(change: Change, since: float) -> str:
    """Unix seconds `since` of the first anomaly. A change may be seen a little later than its effect."""
    lag = since - change.at
    if lag < -SEEN_LATE_SECONDS:
        return f"{elapsed(-lag)} after the first anomaly"
    return f"{f'{elapsed(lag)} before' if lag >= 1 else 'at'} the first anomaly"


def change_before_clauses(change: Change, since: float) -> Text:
    """A change as the cause of what began at `since`: `llm-chat 1.4.2, deployed 3 min before the first anomaly`."""
    what = change.after or SETTINGS.get(change.setting, change.setting) or change.title
    done = "rolled back" if change.stage == "rollback" else DONE.get(change.kind, "changed")
    subject = (change.service,) if change.service else (place(change.host),)
    return text(*subject, f" {what}".rstrip(), f", {done} {_when(change, since)}")


def no_changes(untracked: Sequence[str], services: int, during: str) -> str:
    """That no change is known in a time. untracked: those of the services whose changes are not known."""
    if not untracked:
        return f"None in the {during}"
    log = "its deploy log" if len(untracked) == 1 else "their deploy logs"
    gap = f"deploys of {joined_text(joined(map(place, untracked)))} are not tracked (check {log})"
    return f"Unknown: {gap}" if len(untracked) == services else f"None in the {during}, but {gap}"
