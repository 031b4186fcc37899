"""Grafana's JSON of a dashboard, by Grafana's own Python SDK.

Schema: classic dashboard JSON, version 42, which every Grafana from 12 on loads from files (newer ones migrate it).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from grafana.panels import Dashboard, Kind, Link, Panel, Query, Variable
from grafana.promql import named
from grafana_foundation_sdk.builders import bargauge, common, nodegraph, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

with warnings.catch_warnings():
    # It recommends the second version of the schema, which Grafana may not load from files.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard

COLUMNS = 24
"""Width of Grafana's grid."""
SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
HUB = "http://127.0.0.1:8050"
"""Where browsers find the hub, unless the variable `hub` of a dashboard says otherwise."""
TAG = "foreshock"
RING = {"failed": "red", "served": "green"}
"""The ring of a node: what its arcs are called, and their colors."""

_Builder = bargauge.Panel | nodegraph.Panel | stat.Panel | table.Panel | timeseries.Panel
_BUILDERS: dict[Kind, Callable[[], _Builder]] = {
    "bargauge": bargauge.Panel,
    "nodegraph": nodegraph.Panel,
    "stat": stat.Panel,
    "table": table.Panel,
    "timeseries": timeseries.Panel,
}


def text_of(board: Dashboard) -> str:
    """The file's content: sorted keys, so that equal dashboards give equal bytes.

    Raises:
        ValueError: the panels of a row leave a gap at the right, or do not fit beside each other.
    """
    made = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    return json.dumps(_in_sight(made), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _in_sight(part: Any) -> Any:  # noqa: ANN401 - JSON
    """Without `placement`: the SDK cannot leave it out, and all that it can say is to put links into a menu."""
    if isinstance(part, dict):
        return {name: _in_sight(value) for name, value in part.items() if name != "placement"}
    return [_in_sight(item) for item in part] if isinstance(part, list) else part


def _dashboard(board: Dashboard) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG, "gpu"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .annotation(_incidents())
        .annotation(_changes())
        .link(_to_the_hub("foreshock", board.page))
        .link(_to_the_hub("Traces", "/traces"))
        .link(
            dashboard.DashboardLink("Dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    made.with_variable(
        dashboard.TextBoxVariable("hub")
        .label("Hub")
        .description("URL of the hub's pages, as seen by your browser.")
        .default_value(HUB)
        .current(model.VariableOption(text=HUB, value=HUB))
    )
    number = 0
    for row in board.rows:
        number += 1
        made.with_row(dashboard.Row(row.title).id(number))
        filled = 0
        for panel in row.panels:
            number += 1
            made.with_panel(_panel(panel).id(number))
            filled += panel.width
            if filled > COLUMNS:
                raise ValueError(f"{board.uid}: {panel.title!r} does not fit beside the panels before it")
            filled %= COLUMNS
        if filled:
            raise ValueError(f"{board.uid}: the last line of {row.title!r} is {filled} of {COLUMNS} columns wide")
    return made


def _incidents() -> dashboard.AnnotationQuery:
    """A mark in every graph while a critical incident is open: one, although its suspected cause may be corrected."""
    return (
        dashboard.AnnotationQuery()
        .name("Incidents")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(named('max without (instance, job) (foreshock_incident_open{severity="critical"})'))
        .title_format("Incident on {{service}}")
        .text_format("{{id}}")
        .tag_keys("service")
    )


def _changes() -> dashboard.AnnotationQuery:
    """A mark at the time of each change, which is the value of its series in seconds."""
    return (
        dashboard.AnnotationQuery()
        .name("Changes")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(named("1000 * max without (instance, job) (foreshock_change_timestamp_seconds)"))
        .title_format("Change: {{service}} → {{after}}")
        .text_format("{{kind}} {{stage}}")
        .tag_keys("kind,source")
        .use_value_for_time(True)
    )


def _to_the_hub(title: str, page: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url("${hub:raw}" + page)
        .icon("external link")
        .keep_time(True)
        .target_blank(True)
    )


def _variable(variable: Variable) -> dashboard.QueryVariable:
    query = f"label_values({variable.metric}, {variable.values_of})"
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query({"query": query, "refId": "Variable"})
        .definition(query)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _panel(panel: Panel) -> _Builder:
    made = _BUILDERS[panel.kind]()
    made.title(panel.title).description(panel.description).datasource(SOURCE).span(panel.width).height(panel.height)
    made.unit(panel.unit).thresholds(_thresholds(panel.steps))
    if panel.kind != "nodegraph":
        made.data_links([_data_link(link) for link in panel.links])
    if panel.most is not None:
        made.max(panel.most)
    for at, query in enumerate(panel.queries):
        made.with_target(_target(query, query.name or chr(ord("A") + at), panel.kind))
    _finish(made, panel)
    return made


def _finish(made: _Builder, panel: Panel) -> None:
    """What only one kind of panel has."""
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    if isinstance(made, timeseries.Panel):
        made.min(0).fill_opacity(8).show_points(kinds.VisibilityMode.NEVER).span_nulls(False)
        made.legend(common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).show_legend(True))
        made.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    elif isinstance(made, stat.Panel):
        made.reduce_options(last).graph_mode(kinds.BigValueGraphMode.NONE)
    elif isinstance(made, bargauge.Panel):
        made.reduce_options(last).min(0).orientation(kinds.VizOrientation.HORIZONTAL)
        made.display_mode(kinds.BarGaugeDisplayMode.GRADIENT)
    elif isinstance(made, table.Panel):
        if len(panel.queries) > 1:
            made.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        made.with_transformation(_organized(panel))
        for query in panel.queries:
            if query.unit:
                value = model.DynamicConfigValue(id_val="unit", value=query.unit)
                made.override_by_name(panel.columns[_value_of(query, panel)], [value])
    else:
        # One frame of nodes and one of edges; each is put together of the queries whose names begin so.
        for frame in ("nodes", "edges"):
            of = model.MatcherConfig(id_val="byRefId", options=f"/^{frame}/")
            made.with_transformation(model.DataTransformerConfig(id_val="merge", options={}, filter_val=of))
        made.with_transformation(_organized(panel))
        made.edges(nodegraph.EdgeOptions().main_stat_unit("reqps"))
        made.nodes(
            nodegraph.NodeOptions()
            .main_stat_unit("reqps")
            .secondary_stat_unit("percentunit")
            .arcs([nodegraph.ArcOption().field(f"arc__{part}").color(color) for part, color in RING.items()])
        )
        # On the title, which only nodes have: the menu of an edge shows the links of all its fields.
        links = [{"title": link.title, "url": link.url, "targetBlank": True} for link in panel.links]
        made.override_by_name("title", [model.DynamicConfigValue(id_val="links", value=links)])


def _value_of(query: Query, panel: Panel) -> str:
    """What Grafana calls the column of a query's values."""
    return f"Value #{query.name}" if len(panel.queries) > 1 else "Value"


def _organized(panel: Panel) -> model.DataTransformerConfig:
    order = {name: at for at, name in enumerate(panel.columns)}
    options = {"includeByName": dict.fromkeys(panel.columns, True), "indexByName": order}
    return model.DataTransformerConfig(id_val="organize", options=options | {"renameByName": dict(panel.columns)})


def _target(query: Query, name: str, kind: Kind) -> prometheus.Dataquery:
    made = prometheus.Dataquery().datasource(SOURCE).expr(query.expr).ref_id(name)
    made.legend_format(query.legend or "__auto").exemplar(query.exemplars)
    made = made.range() if kind == "timeseries" else made.instant()
    tabular = kind in ("table", "nodegraph")
    return made.format(PromQueryFormat.TABLE if tabular else PromQueryFormat.TIME_SERIES)


def _data_link(link: Link) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(link.title).url(link.url).target_blank(True)


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    found = [model.Threshold(color="green", value=None)]
    found += [model.Threshold(color=color, value=value) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)
