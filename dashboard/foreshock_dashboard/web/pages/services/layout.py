"""Layouts of the Services page and of the page of one service."""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Mark, blank
from foreshock_dashboard.web.pages.services.data import involved_services
from foreshock_dashboard.web.panels import service_charts as figures
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import attributes, chart, page_of, panel
from foreshock_dashboard.web.state.parameters import service_named
from foreshock_dashboard.web.state.time_range import View

_BY = "by_service_namespace, by_service_name"


def service_list() -> Component:
    """The headline, a search field, and the table."""
    return page_of(
        "services",
        "Services",
        [
            html.P(id="services-say", className="say"),
            panel(
                "service-list",
                "Every service",
                "click a head to sort; a name leads to all about it",
                wide=True,
                csv="/api/csv/services",
            ),
        ],
        "/api/pages/services",
        orders="sort",
    )


def service_page() -> Component:
    """The sentence, SLO and load, then GPU time, neighbors, calls, and model servers."""
    spans = "traces_span_metrics"
    named = 'service_name="{name}",service_namespace="{namespace}"'
    return page_of(
        "service",
        "Service",
        [
            html.Div(id="service-switch", className="switch"),
            html.Section(
                [
                    html.P("Loading…", id="service-say", className="headline", role="alert"),
                    html.Div(id="service-links", className="verdict-detail"),
                ],
                id="service-verdict",
                className="verdict",
                **attributes(data_state="loading", aria_label="How it is"),
            ),
            html.Div(id="service-figures", className="figures"),
            html.Div(
                [
                    chart(
                        "service-durations",
                        "How long requests take",
                        "drag to zoom",
                        promql="histogram_quantile(0.95, sum by (le) (rate("
                        f"{spans}_duration_seconds_bucket{{{named}}}[1m])))",
                    ),
                    chart(
                        "service-gpu",
                        "Waiting for GPUs, and for whom",
                        "share of time, at most, mean over its GPUs",
                        promql=f"avg by ({_BY}) (sum by (instance, uuid, {_BY}) "
                        f"(rate(gpu_service_stalled_by_seconds_total{{{named}}}[1m])))",
                    ),
                    chart(
                        "service-requests",
                        "Requests and failures",
                        "each second",
                        promql=f"sum by (status_code) (rate({spans}_calls_total{{{named}}}[1m]))",
                    ),
                    panel("neighbours", "Neighbours on its GPUs", "share of time, at most; a name leads to the pair"),
                    panel("callers", "Who calls it", "as the callers see it"),
                    panel("callees", "Whom it calls", "as it sees them"),
                    chart("service-queue", "Inference queue", "requests on its model servers"),
                    chart("service-cache", "KV cache", "share in use, mean over its replicas"),
                    chart("service-first-token", "Time to first token", "p95"),
                    chart("service-per-token", "Time per token", "mean"),
                    panel("replicas", "Replicas", "the busiest first"),
                    chart("service-replicas", "Capacity", "replicas"),
                    panel("service-gpus", "GPUs it is on", "where it waits longest first"),
                    panel("service-incidents", "Incidents it had part in", "of the last hour"),
                ],
                className="panels",
            ),
        ],
        "/api/pages/services/{rest}",
        orders="neighbours-table callers-table callees-table replicas-table gpus-table",
    )


Draw = Callable[[World, Service, Look, tuple[float, float]], Json]


def _chart(name: str, draw: Draw) -> Chart:
    """A chart of the service in the address."""
    return Chart(name, lambda hub, seen, look: _drawn(hub, seen, look, draw))


def _drawn(hub: HubView, seen: View, look: Look, draw: Draw) -> Json:
    world = hub.over(seen.start, seen.end)
    if world is None:
        return blank("No data in this range.", look)
    try:
        service = service_named(seen.rest, world.services)
    except ValueError:
        return blank("No such service.", look)
    if service is None or service not in world.services:
        return blank("Nothing is known of it in this range.", look)
    return draw(world, service, look, (seen.start, seen.end))


Marked = Callable[[Snapshot, World, Service, Look, tuple[float, float], list[Mark]], Json]


def _marked(name: str, draw: Marked) -> Chart:
    """The same with the incidents in which it had a part."""

    def drawn(hub: HubView, seen: View, look: Look) -> Json:
        def marked(world: World, service: Service, look: Look, span: tuple[float, float]) -> Json:
            known = snapshot_at(hub, seen)
            incidents = [
                item
                for item in known.incidents
                if service in involved_services(item) and span[0] <= item.since <= span[1]
            ]
            return draw(known, world, service, look, span, figures.marks_of(incidents))

        return _drawn(hub, seen, look, marked)

    return Chart(name, drawn)


def _durations(
    known: Snapshot, world: World, service: Service, look: Look, span: tuple[float, float], marks: list[Mark]
) -> Json:
    slo = next((each for each in known.forecast.slos if each.service == service), None)
    return figures.durations(world, service, look, span, slo, marks)


CHARTS = (
    _marked("service-durations", _durations),
    _marked("service-gpu", lambda _, *rest: figures.gpu_time(*rest)),
    _marked("service-requests", lambda _, *rest: figures.requests(*rest)),
    _chart("service-queue", figures.queue),
    _chart("service-cache", figures.cache),
    _chart("service-first-token", figures.first_token),
    _chart("service-per-token", figures.per_token),
    _chart("service-replicas", figures.replicas),
)
PAGE = Page("/services", "Services", "Services", service_list, key="s")
ONE = Page("/services", "", "Service", service_page, charts=CHARTS, deep=True)
