"""The service map's layout: readable, and the same for the same graph."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.web.panels.graph_layout import Arrow, Layered, Place, layered

NAMES = st.sampled_from([f"service-{i:02d}" for i in range(14)])
GRAPHS = st.tuples(
    st.lists(NAMES, max_size=14, unique=True),
    st.lists(st.builds(Arrow, NAMES, NAMES, st.floats(0, 1e6)), max_size=40),
)


@given(GRAPHS)
def test_no_two_things_share_a_place(graph: tuple[list[str], list[Arrow]]) -> None:
    """Boxes never overlap, and no edge bends where a box stands."""
    nodes, arrows = graph
    result = layered(nodes, arrows)
    bends = [(point, route.client, route.server) for route in result.routes for point in route.points[1:-1]]
    places = [*result.places.values(), *(point for point, _, _ in bends)]
    assert len(places) == len(set(places))
    assert set(result.places) == set(nodes)


def test_there_and_back_between_the_same_two_pass_apart() -> None:
    """A callback over several columns is not drawn on top of the call it answers."""
    arrows = [Arrow("a", "b", 9.0), Arrow("b", "c", 9.0), Arrow("a", "c", 9.0), Arrow("c", "a", 1.0)]
    bends = [
        route.points[1:-1] for route in layered("abc", arrows).routes if {route.client, route.server} == {"a", "c"}
    ]
    assert len({*bends[0], *bends[1]}) == 2


@given(GRAPHS)
def test_edges_go_right_unless_they_close_a_cycle(graph: tuple[list[str], list[Arrow]]) -> None:
    """Every edge passes each column between its ends once, to the right; one that closes a cycle, to the left."""
    result = layered(*graph)
    for route in result.routes:
        columns = [point.column for point in route.points]
        step = -1 if route.back else 1
        assert columns == list(range(columns[0], columns[0] + step * len(columns), step))
        assert route.points[0] == result.places[route.client]
        assert route.points[-1] == result.places[route.server]


@given(GRAPHS)
def test_a_graph_keeps_every_edge_between_known_services(graph: tuple[list[str], list[Arrow]]) -> None:
    """No edge is lost, none is invented, and a service that calls itself has no loop drawn."""
    nodes, arrows = graph
    wanted = {(a.client, a.server) for a in arrows if a.client != a.server and {a.client, a.server} <= set(nodes)}
    assert {(route.client, route.server) for route in layered(nodes, arrows).routes} == wanted


@given(GRAPHS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(graph: tuple[list[str], list[Arrow]], rng: random.Random) -> None:
    """The map does not jump because a source lists things in another order."""
    nodes, arrows = list(graph[0]), [arrow._replace(weight=1.0) for arrow in graph[1]]
    first = layered(nodes, arrows)
    rng.shuffle(nodes)
    rng.shuffle(arrows)
    assert layered(nodes, arrows) == first


@given(GRAPHS)
def test_rows_of_a_column_are_counted_without_gaps(graph: tuple[list[str], list[Arrow]]) -> None:
    """`heights` says how many rows each column has, so that it can be centered."""
    result = layered(*graph)
    for column, height in enumerate(result.heights):
        rows = {place.row for place in result.places.values() if place.column == column}
        rows |= {point.row for route in result.routes for point in route.points if point.column == column}
        assert rows == set(range(height))


def _columns(result: Layered) -> dict[str, int]:
    return {name: place.column for name, place in result.places.items()}


def test_callers_stand_left_of_callees() -> None:
    """A chain reads from left to right, and a late caller stands next to what it calls."""
    arrows = [Arrow("gateway", "api"), Arrow("api", "model"), Arrow("batch", "model")]
    assert _columns(layered(["gateway", "api", "model", "batch"], arrows)) == {
        "gateway": 0,
        "api": 1,
        "batch": 1,
        "model": 2,
    }


def test_the_lightest_edge_of_a_cycle_runs_back() -> None:
    """A callback with little traffic is drawn backwards, the main flow forwards."""
    result = layered("ab", [Arrow("a", "b", 100.0), Arrow("b", "a", 1.0)])
    assert {(route.client, route.server): route.back for route in result.routes} == {
        ("a", "b"): False,
        ("b", "a"): True,
    }


@pytest.mark.parametrize(("beside", "place"), [({"train": "model"}, Place(1, 1)), ({}, Place(0, 1))])
def test_a_service_without_calls_stands_below(beside: dict[str, str], place: Place) -> None:
    """A batch job stands in the column of the service whose GPUs it shares, below those with calls."""
    assert layered(["api", "model", "train"], [Arrow("api", "model")], beside).places["train"] == place


def test_an_empty_graph_has_an_empty_layout() -> None:
    """Nothing is drawn for nothing."""
    assert layered([], []) == Layered({}, (), ())
