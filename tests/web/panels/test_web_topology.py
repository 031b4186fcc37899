"""Names, colors, and edges to which the values of pages refer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tests.web.worlds import (
    NOW,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.web.charts.theme import SERVICE_COLORS, service_color
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.services.data import service as service_page
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents, current_history
from foreshock_dashboard.web.panels.topology import call_edges, map_nodes, topology
from foreshock_dashboard.web.state.lists import services
from foreshock_dashboard.web.state.service_history import HistoryCache

Golden = Callable[[str, str], None]


def test_the_timeline_says_which_incident_a_further_cause_belongs_to() -> None:
    """The reason of the cause in the headline needs no such note."""
    world = contended()
    further = replace(
        contention_incident(world, "auth", "rag-api", severity="warning"), id="further", cause="overload", paged=None
    )
    lanes = cascade(snapshot(world, contention_incident(world), further), NOW - 900)["timeline"].lanes
    why = {lane.service: lane.why for lane in lanes if lane.part == "suspect"}
    assert why["rag-api"] == "cause of the incident of auth"
    assert "incident" not in why["train-llm"]


def test_topology_keeps_its_name_while_only_values_change() -> None:
    """The browser requests identities again only when there are others."""
    world = healthy_world()
    assert topology(world)["id"] == topology(contended())["id"]
    assert topology(world)["id"] != topology(healthy_world(hosts=5))["id"]


def test_an_edge_to_a_name_that_is_no_service_is_still_drawn() -> None:
    """Callers from outside and databases stand on the map as what they are."""
    kinds = {node.id: node.kind for node in topology(healthy_world())["map"].nodes}
    assert kinds["user"] == "outside"
    assert kinds["postgres"] == "database"
    assert Edge(service("user"), service("gateway"), "virtual_node") in healthy_world().edges


def test_a_call_has_the_same_values_on_the_map_on_pages_of_services_and_in_the_api() -> None:
    """The smoothed ones, as evidence has them, so that no page has two request rates of one call."""
    world = contended()
    calls, factor = world.calls, np.where(np.arange(len(world.times)) == len(world.times) - 1, 1.5, 1.0)
    world = replace(world, calls=replace(calls, rate=calls.rate * factor, p95=calls.p95 * factor))
    seen = snapshot(world)
    rows = services(seen, current_history(seen, world, chosen_incidents(seen), HistoryCache()))["edges"]
    api = {(row.client, row.server): (row.requests_per_second, row.error_rate, row.p95_seconds) for row in rows}
    on_map = {(str(row[0]), str(row[1])): tuple(row[2:5]) for row in call_edges(world, map_nodes(world))}
    of_services = {
        (call.id, str(who)): (call.rate, call.error_rate, call.p95)
        for who in world.services
        for call in service_page(seen, who)["callers"]
    }
    assert on_map == api
    assert of_services
    assert of_services.items() <= api.items()


def test_a_service_has_one_color_everywhere() -> None:
    """By its name alone, within the palette."""
    assert service_color("embedder") == service_color("embedder")
    assert {service_color(f"s{i}") for i in range(500)} == set(range(SERVICE_COLORS))


def test_golden_topology(golden: Golden) -> None:
    """Identities and the layout of the map."""
    golden("web-topology.json", json.dumps(topology(healthy_world()), indent=1, default=vars) + "\n")
