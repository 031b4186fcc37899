"""Topologies of the laboratory: what every drawn system has, and what differs between seeds."""

from __future__ import annotations

import json

import pytest

from foreshock_lab.topology import desk, shop
from foreshock_lab.topology.draw import draw
from foreshock_lab.topology.model import Call, Topology, service_json

SEEDS = range(20)


@pytest.fixture(params=SEEDS)
def topology(request: pytest.FixtureRequest) -> Topology:
    return draw(request.param)


def test_a_seed_always_draws_the_same_system() -> None:
    assert draw(7) == draw(7)


def test_seeds_differ_in_names_and_edges() -> None:
    edges = {frozenset((spec.role, len(spec.callees)) for spec in draw(seed).services) for seed in SEEDS}
    names = {frozenset(spec.name for spec in draw(seed).services) for seed in SEEDS}
    assert len(edges) > 10
    assert len(names) == len(SEEDS)


def test_every_system_has_an_ai_path_beside_other_services(topology: Topology) -> None:
    roles = {spec.role for spec in topology.services}
    assert {"front", "gateway", "chat", "guard", "embedder", "retriever"} <= roles
    assert roles <= (shop.NAMES.keys() if topology.name.startswith("shop") else desk.NAMES.keys())
    assert len(topology.services) >= 10


def test_both_kinds_of_systems_are_drawn() -> None:
    assert {draw(seed).name.partition("-")[0] for seed in SEEDS} == {"shop", "desk"}


def test_every_call_goes_to_an_operation_that_exists(topology: Topology) -> None:
    operations = {(spec.name, operation.name) for spec in topology.services for operation in spec.operations}
    calls = {
        (step.service, step.operation) for spec in topology.services for step in spec.steps if isinstance(step, Call)
    }
    assert calls <= operations


def test_users_reach_every_service(topology: Topology) -> None:
    reached, found = {topology.front.name}, {topology.front.name}
    while found:
        found = {name for item in found for name in topology.service(item).callees} - reached
        reached |= found
    assert reached == {spec.name for spec in topology.services}


def test_no_service_calls_itself_through_others(topology: Topology) -> None:
    def below(name: str, path: tuple[str, ...]) -> None:
        assert name not in path
        for callee in topology.service(name).callees:
            below(callee, (*path, name))

    below(topology.front.name, ())


def test_the_shares_of_the_entries_add_up_and_name_operations_of_the_front(topology: Topology) -> None:
    assert sum(entry.share for entry in topology.entries) == pytest.approx(1.0)
    assert {entry.operation for entry in topology.entries} == {item.name for item in topology.front.operations}


def test_a_service_is_written_as_json_with_the_kinds_of_its_steps(topology: Topology) -> None:
    for spec in topology.services:
        written = json.loads(json.dumps(service_json(spec)))
        assert written["name"] == spec.name
        assert all("kind" in step for operation in written["operations"] for step in operation["steps"])
