"""What a Grafana dashboard is made of: values only. `render` makes Grafana's JSON of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["stat", "timeseries", "table", "bargauge", "nodegraph"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query.

    legend: Grafana's template for its series. name: its refId; letters from A on where there is none. exemplars: show
    the traces behind it, for histograms. unit: of the column that it becomes in a table; else the panel's.
    """

    expr: str
    legend: str = ""
    name: str = ""
    exemplars: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click on a series or a row leads. `url` may hold Grafana's variables, such as `${__field.labels.x}`."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    unit: Grafana's name of a unit. steps: (from, color) above green. most: ends the axis. columns: of a table, what
    its fields are called, in their order; others are hidden. Of a node graph, the same for the fields of its frames.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    steps: Sequence[tuple[float, str]] = ()
    most: float | None = None
    links: Sequence[Link] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, from left to right; their widths add up to whole grids of 24 columns."""

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
class Dashboard:
    """A dashboard. `uid` is part of its address and stays as it is; `page` is the hub's page on the same subject."""

    uid: str
    title: str
    description: str
    page: str
    rows: Sequence[Row]
    variables: Sequence[Variable]
