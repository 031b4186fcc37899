"""API routes of lists, of the service map, and of the hub's status."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.api.answers import RouteContext, get, get_snapshot
from foreshock_dashboard.web.api.parameters import IncidentsParameters
from foreshock_dashboard.web.http.responses import Payload
from foreshock_dashboard.web.pages.contention.limits import LimitRow
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents, current_history
from foreshock_dashboard.web.panels.topology import Topology
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.parameters import AsOf, NoParameters
from foreshock_dashboard.web.state.service_history import HistoryCache


class WaitList(lists.Contention):
    """The pairs, and losses at the limits of other resources, the largest first; None if they cannot be read."""

    limits: list[LimitRow] | None


def services(histories: HistoryCache, snapshot: Snapshot) -> lists.Services:
    """Every service and call edge, with the states that the pages show."""
    world = snapshot.world
    history = current_history(snapshot, world, chosen_incidents(snapshot), histories) if world else None
    return lists.services(snapshot, history)


def add_list_routes(context: RouteContext) -> None:
    """Register the routes of lists and of the hub's status."""
    api, hub, responder = context.api, context.hub, context.responder

    def add(name: str, payload: type, make: Callable[[Snapshot], Payload], summary: str) -> None:
        route = get_snapshot(api, responder, f"/{name}", summary, payload, name=name)
        route(lambda snapshot, _past, _query: make(snapshot))

    requests = "requests per second, share failed, p50, p95, p99, retries"
    add("services", lists.Services, partial(services, context.histories), f"Every service: {requests}; every call edge")
    gpus = "utilization, contention, memory, power, temperature, sharing mode, and the services on it"
    add(
        "gpus",
        lists.Gpus,
        lambda snapshot: lists.gpus(snapshot, context.sharing.by_gpu(snapshot)),
        f"Every GPU: {gpus}",
    )
    waits = "Which service waits on which, on which GPUs, and for what share of the time"
    add(
        "contention",
        WaitList,
        lambda snapshot: {**lists.contention(snapshot), "limits": context.limits.listed(snapshot)},
        f"{waits}; and other resources at whose limit services lose time",
    )
    tiers = "GPUs shared by tiers, and the minimum number of GPUs that each tier needs to absorb bursts"
    add("pools", lists.Pools, lambda snapshot: lists.pools(snapshot.world), tiers)

    @get_snapshot(
        api,
        responder,
        "/incidents",
        "Open incidents, worst first, then resolved ones",
        lists.Incidents,
        parameters=IncidentsParameters,
    )
    def incidents(snapshot: Snapshot, past: bool, query: IncidentsParameters) -> Payload:
        time = responder.time_of(snapshot, past)
        known = context.responses.at(time) if past else context.responses.current()
        return lists.incidents(snapshot, query.state, known, time, hub.ownership)

    @get(api, "/topology", "Services and GPUs, and the layout of the service map", Topology)
    def topology(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        body = context.topologies.get(snapshot, past)
        return responder.json_response(request, snapshot, body, f'"{body["id"]}"')

    @get(api, "/status", "The hub's own health: targets, store, receiver", lists.Status)
    def status(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        body = lists.status(hub.snapshot, hub.status(), *hub.ready(), context.version)
        return responder.json_response(request, hub.snapshot, body)

    @get(api, "/shard", "The clusters that the hub reads, and whether its list of incidents is current", lists.HubPart)
    def shard(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        body = lists.hub_part(snapshot, hub.status().get("shard"), *hub.ready(), hub.now())
        return responder.json_response(request, snapshot, body)
