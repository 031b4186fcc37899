"""Rules and dashboards for a Prometheus with several clusters: nothing is added up or compared across clusters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_GROUPED = re.compile(r"\b(by|on) \(")
_TEMPLATE_QUERY = re.compile(r'printf "([^"{]*)\{(?!id=)([^"]*)"(\s+)')  # the ID of an incident is unique
_SERVICE_LINK = re.compile(r"/services/\{\{.*?urlquery \$labels\.(service_name|server) \}\}", re.DOTALL)
_PARAMETER_LINK = re.compile(r"/(contention\?victim|fleet\?gpu)=")
_NODE = re.compile(r'"(id|source|target)", "/", "(\w+)"')
_NODE_WITHOUT_NAMESPACE = re.compile(r'"\$1", "(id|source|target)", "/\(\.\+\)"')
_ALERTS = re.compile(r"\b(equal|group_by): \[(?!alertname)")


def by_cluster(text: str, label: str) -> str:
    """PromQL, or rules with it, that also groups and matches by the label of the cluster. Links name the cluster."""
    text = _GROUPED.sub(rf"\1 ({label}, ", text)
    text = _TEMPLATE_QUERY.sub(rf'printf "\1{{{label}=%q,\2"\3$labels.{label} ', text)
    cluster = f"{{{{ with $labels.{label} }}}}%scluster={{{{ urlquery . }}}}%s{{{{ end }}}}"
    text = _SERVICE_LINK.sub(lambda link: link[0] + cluster % ("?", ""), text)
    return _PARAMETER_LINK.sub(lambda link: link[0].replace("?", "?" + cluster % ("", "&")), text)


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


def _nodes_by_cluster(expression: str, label: str) -> str:
    """PromQL whose nodes and edges of a service graph are named as the hub names them: `cluster//namespace/name`.

    A label that no series has, between two slashes, gives the mark; a series without a cluster keeps its plain name.
    """
    expression = _NODE.sub(rf'"\1", "/", "{label}", "__none__", "\2"', expression)
    expression = _NODE_WITHOUT_NAMESPACE.sub(r'"$1$2$3", "\1", "(.+//)/(.+)|//+(.+)"', expression)
    return expression.replace('"id", "(.*)/.*"', '"id", "(.*?)/+[^/]*"')


def _grouped(part: Any, label: str, key: str = "") -> Any:  # noqa: ANN401 - JSON
    match key, part:
        case "expr", str():
            return _nodes_by_cluster(by_cluster(part, label), label)
        case "legendFormat", str() if "{{" in part:
            return f"{{{{{label}}}}} {part}"
        case "url", str() if "${__field.labels." in part:
            return part.replace("?", f"?cluster=${{__field.labels.{label}:percentencode}}&", 1)
        case "url", str() if "${__data.fields.Service" in part or "${__data.fields.Host}" in part:
            return part.replace("?", "?cluster=${__data.fields.Cluster:percentencode}&", 1)
        case "options", {"includeByName": shown, "indexByName": order, "renameByName": names} if "id" not in shown:
            return {
                "includeByName": {label: True, **shown},
                "indexByName": {label: 0, **{name: at + 1 for name, at in order.items()}},
                "renameByName": {label: "Cluster", **names},
            }
        case _, dict():
            return {name: _grouped(value, label, name) for name, value in part.items()}
        case _, list():
            return [_grouped(item, label) for item in part]
    return part
