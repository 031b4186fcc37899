"""Layouts of the Services page and of the page of one service."""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Mark, blank
from foreshock_dashboard.web.pages.services.data import involved_services
from foreshock_dashboard.web.panels import service_charts as figures
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel, verdict
from foreshock_dashboard.web.state.parameters import View, service_named

_BY = "aggressor_namespace, aggressor_name"


def service_list() -> Component:
    """The summary and the table."""
    return page_of(
        "services",
        "Services",
        [
            html.P(id="services-summary", className="page-summary"),
            html.Div(
                [
                    panel("service-list", "Services with requests", wide=True, csv="/api/csv/services"),
                    panel("jobs", "Services without requests", wide=True, hidden=True),
                ],
                className="panels",
            ),
        ],
        "/api/pages/services",
        orders="sort jsort",
    )


def service_page() -> Component:
    """The sentence, SLO and load, then GPU time, neighbors, calls, and model servers."""
    links = html.Div(id="service-links", className="verdict-detail")
    spans = "traces_span_metrics"
    named = "{service}"  # the page puts its label matchers here
    return page_of(
        "service",
        "Service",
        [
            verdict("service-verdict", "State", "service-state", links, role="alert"),
            html.Div(id="service-figures", className="figures"),
            html.Div(
                [
                    chart(
                        "service-durations",
                        "Latency",
                        "",
                        promql="histogram_quantile(0.95, sum by (le) (rate("
                        f"{spans}_duration_seconds_bucket{{{named}}}[1m])))",
                    ),
                    chart(
                        "service-gpu",
                        "GPU wait by neighbor",
                        "",
                        promql=f"avg by ({_BY}) (sum by (instance, uuid, {_BY}) "
                        f"(rate(gpu_service_wait_by_aggressor_seconds_total{{{named}}}[1m])))",
                    ),
                    chart(
                        "service-requests",
                        "Request rate and errors",
                        "",
                        promql=f"sum by (status_code) (rate({spans}_calls_total{{{named}}}[1m]))",
                    ),
                    panel("neighbors", "GPU neighbors", "share of time (upper bound)"),
                    panel("callers", "Callers", "measured by the caller, including its timeouts"),
                    panel("dependencies", "Dependencies", ""),
                    chart("service-queue", "Inference queue", "requests"),
                    chart("service-cache", "KV cache usage", "mean over replicas"),
                    chart("service-first-token", "Time to first token (TTFT)"),
                    chart("service-per-token", "Time per output token (TPOT)"),
                    panel("replicas", "Replicas", ""),
                    chart("service-replicas", "Replica count", ""),
                    panel("service-gpus", "GPUs", ""),
                    panel("service-incidents", "Incidents", "last hour"),
                    panel("service-changes", "Changes", "last 3 h"),
                ],
                className="panels",
            ),
        ],
        "/api/pages/services/{rest}",
        orders="neighbors-table callers-table dependencies-table replicas-table gpus-table",
    )


def _chart(name: str, draw: Callable[[HubView, View, World, Service, Look], Json]) -> Chart:
    def drawn(hub: HubView, view: View, look: Look) -> Json:
        world = hub.over(view.start, view.end)
        if world is None:
            return blank(EMPTY["chart"], look)
        try:
            service = service_named(view.rest, world.services)
        except ValueError as error:
            return blank(f"{view.rest}: {error}.", look)
        if service is None or service not in world.services:
            return blank(EMPTY["service_chart"], look)
        return draw(hub, view, world, service, look)

    return Chart(name, drawn)


def _marks(snapshot: Snapshot, world: World, service: Service, view: View) -> list[Mark]:
    involved = [item for item in snapshot.incidents if service in involved_services(item)]
    incidents = figures.marks_of([item for item in involved if view.start <= item.since <= view.end])
    return [*incidents, *figures.change_marks(world.changes, {service}, (view.start, view.end))]


def _marked(name: str, draw: figures.Draw) -> Chart:
    return _chart(
        name,
        lambda hub, view, world, service, look: draw(
            world, service, look, (view.start, view.end), _marks(snapshot_at(hub, view), world, service, view)
        ),
    )


def _durations(hub: HubView, view: View, world: World, service: Service, look: Look) -> Json:
    snapshot = snapshot_at(hub, view)
    slo = next((slo for slo in snapshot.forecast.slos if slo.service == service), None)
    return figures.durations(world, service, look, (view.start, view.end), slo, _marks(snapshot, world, service, view))


CHARTS = (
    _chart("service-durations", _durations),
    _marked("service-gpu", figures.gpu_time),
    _marked("service-requests", figures.requests),
    _marked("service-queue", figures.queue),
    _marked("service-cache", figures.cache),
    _marked("service-first-token", figures.first_token),
    _marked("service-per-token", figures.per_token),
    _marked("service-replicas", figures.replicas),
)
PAGE = Page("/services", "Services", "Services", service_list, key="s")
ONE = Page("/services", "", "Service", service_page, charts=CHARTS, deep=True)
