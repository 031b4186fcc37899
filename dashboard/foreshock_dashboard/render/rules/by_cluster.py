"""Rules and dashboards for a Prometheus with several clusters: nothing is added up or compared across clusters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_GROUPED = re.compile(r"\b(by|on) \(")
_ALERTS = re.compile(r"\b(equal|group_by): \[(?!alertname)")


def by_cluster(text: str, label: str) -> str:
    """PromQL that also groups and matches by the label of the cluster."""
    return _GROUPED.sub(rf"\1 ({label}, ", text)


def alertmanager_by_cluster(text: str, label: str) -> str:
    """A configuration of Alertmanager that groups and inhibits within a cluster; a label that both lack is equal."""
    return _ALERTS.sub(rf"\1: [{label}, ", text)


def dashboard_by_cluster(dashboard: Mapping[str, Any], label: str) -> dict[str, Any]:
    """A dashboard with a filter for all its queries, which also group by the label of the cluster."""
    data_source = {"type": "prometheus", "uid": "${datasource}"}
    filters = {"name": "filters", "type": "adhoc", "label": label, "datasource": data_source, "filters": []}
    grouped: dict[str, Any] = _grouped(dashboard, label)
    templating = grouped["templating"]
    return {**grouped, "templating": {**templating, "list": [*templating["list"], filters]}}


def _grouped(part: Any, label: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(part, dict):
        return {
            key: by_cluster(value, label) if key == "expr" else _grouped(value, label) for key, value in part.items()
        }
    return [_grouped(item, label) for item in part] if isinstance(part, list) else part
