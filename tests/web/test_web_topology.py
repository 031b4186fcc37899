"""Names, colors, and edges to which the values of pages refer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

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
from foreshock_dashboard.web.panels.topology import topology

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


def test_a_service_has_one_color_everywhere() -> None:
    """By its name alone, within the palette."""
    assert service_color("embedder") == service_color("embedder")
    assert {service_color(f"s{i}") for i in range(500)} == set(range(SERVICE_COLORS))


def test_golden_topology(golden: Golden) -> None:
    """Identities and the layout of the map."""
    golden("web-topology.json", json.dumps(topology(healthy_world()), indent=1, default=vars) + "\n")
