"""What a Grafana board is made of, and the JSON that comes of it.

Schema: Grafana's classic dashboard JSON, version 39; newer Grafana migrates it when it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "table"]

COLUMNS = 24
"""Width of Grafana's grid."""
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query; `legend` is Grafana's template for its series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's name of a unit; `steps` are (from, colour) above green; `most` ends the axis."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    steps: Sequence[tuple[float, str]] = ()
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, from left to right, wrapped at the grid's width."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that lists the values of a label of a metric; several may be chosen, or all."""

    name: str
    label: str
    metric: str
    values_of: str


@dataclass(frozen=True, slots=True)
class Board:
    """A board. `uid` is part of its address and stays as it is."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable]
    tags: Sequence[str] = field(default=("foreshock", "gpu"))


def dashboard(board: Board) -> Json:
    """The board as Grafana's JSON."""
    return {
        "annotations": {"list": []},
        "description": board.description,
        "editable": False,
        "graphTooltip": 1,
        "panels": list(_placed(board.rows)),
        "refresh": "10s",
        "schemaVersion": 39,
        "tags": list(board.tags),
        "templating": {"list": [_datasource(), *(_variable(item) for item in board.variables)]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "title": board.title,
        "uid": board.uid,
    }


def _placed(rows: Iterable[Row]) -> Iterator[Json]:
    """Number the panels and lay them out: each row below the last, no two in the same place."""
    number, y = 0, 0
    for row in rows:
        number += 1
        yield {
            "collapsed": False, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
            "id": number, "panels": [], "title": row.title, "type": "row",
        }  # fmt: skip
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(panel, number, {"h": panel.height, "w": panel.width, "x": x, "y": y})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel, number: int, where: Json) -> Json:
    defaults: Json = {"unit": panel.unit, "thresholds": _thresholds(panel.steps)}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": {"fillOpacity": 8, "showPoints": "never", "spanNulls": False}}
    if panel.most is not None:
        defaults["max"] = panel.most
    return {
        "datasource": DATASOURCE,
        "description": panel.description,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "gridPos": where,
        "id": number,
        "options": _options(panel.kind),
        "targets": [_target(query, chr(ord("A") + at), panel.kind) for at, query in enumerate(panel.queries)],
        "title": panel.title,
        "type": panel.kind,
    } | ({"transformations": [_HIDDEN]} if panel.kind == "table" else {})


_HIDDEN: Json = {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}


def _options(kind: Kind) -> Json:
    if kind == "stat":
        return {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if kind == "table":
        return {"showHeader": True}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def _target(query: Query, ref: str, kind: Kind) -> Json:
    now = kind != "timeseries"
    return {
        "datasource": DATASOURCE,
        "expr": query.expr,
        "format": "table" if kind == "table" else "time_series",
        "instant": now,
        "legendFormat": query.legend or "__auto",
        "range": not now,
        "refId": ref,
    }


def _thresholds(steps: Sequence[tuple[float, str]]) -> Json:
    found: list[Json] = [{"color": "green", "value": None}]
    return {"mode": "absolute", "steps": found + [{"color": colour, "value": value} for value, colour in steps]}


def _datasource() -> Json:
    return {"label": "Data source", "name": "datasource", "query": "prometheus", "type": "datasource"}


def _variable(variable: Variable) -> Json:
    query = f"label_values({variable.metric}, {variable.values_of})"
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "datasource": DATASOURCE,
        "definition": query,
        "includeAll": True,
        "label": variable.label,
        "multi": True,
        "name": variable.name,
        "query": {"query": query, "refId": "Variable"},
        "refresh": 2,
        "sort": 1,
        "type": "query",
    }


def text_of(board: Board) -> str:
    """The file's content: sorted keys, so that equal boards give equal bytes."""
    return json.dumps(dashboard(board), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
