"""Changes as labels: of a series in a metrics source, and of an entry of the journal."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from foreshock_dashboard.changes.fields import cleaned, link_of
from foreshock_dashboard.model.change import CHANGE_KINDS, REPORT_SOURCES, STAGES, Change, ChangeSource
from foreshock_dashboard.model.service import Service

CHANGE_METRIC = "foreshock_change_timestamp_seconds"
"""Its value is the time of the change, so that recordings keep reported changes, and Grafana can draw them."""
EXPORTED_LABELS = ("kind", "service_name", "service_namespace", "source", "stage", "after")
"""Labels on the page of the hub's own metrics, which anyone may scrape: no other text of a sender."""
_TEXTS = ("host", "setting", "before", "after", "title", "author", "key", "revision")
_FAILED_AT = "failed_at"
LABELS = ("service_name", "service_namespace", "kind", "stage", "source", *_TEXTS, "link", _FAILED_AT)


def change_labels(change: Change) -> dict[str, str]:
    """All of a change but its time, by the names in `LABELS`."""
    service = change.service or Service("", "")
    named = {
        "service_name": service.name,
        "service_namespace": service.namespace,
        _FAILED_AT: "" if change.failed_at is None else str(change.failed_at),
    }
    return named | {name: getattr(change, name) for name in LABELS if name not in named}


def change_of_labels(
    at: float, labels: Mapping[str, str], sources: Collection[ChangeSource] = REPORT_SOURCES
) -> Change | None:
    """The change of labels; None if this version does not know it, or it is of another source.

    The texts are cleaned, and the link is one that a page may have. at: Unix seconds. sources: reported changes only,
    where anyone may have written the labels.
    """
    kind = next((kind for kind in CHANGE_KINDS if kind == labels.get("kind")), None)
    stage = next((stage for stage in STAGES if stage == labels.get("stage", "")), None)
    source = next((source for source in sources if source == labels.get("source")), None)
    if kind is None or stage is None or source is None:
        return None
    texts = {name: cleaned(labels.get(name, "")) for name in _TEXTS}
    name, namespace = (cleaned(labels.get(f"service_{part}", "")) for part in ("name", "namespace"))
    service = Service(namespace, name) if name else None
    link, failed_at = link_of(labels.get("link")), _seconds(labels.get(_FAILED_AT, ""))
    return Change(at, kind, service, stage=stage, source=source, link=link, failed_at=failed_at, **texts)


def _seconds(text: str) -> float | None:
    """Unix seconds; None unless the text is a finite number."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
