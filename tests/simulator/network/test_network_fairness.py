"""Flows share links max-min fairly."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.network.bulk import Demand, max_min_rates

INF = float("inf")


def brute_force_rates(demands: list[Demand[int]], capacities: dict[int, float], steps: int = 20_000) -> list[float]:
    """The rates by brute force: grow every flow that can grow by a small step per weight, repeatedly."""
    piece = max(capacities.values()) / steps
    rates = [0.0] * len(demands)
    left = dict(capacities)
    growing = set(range(len(demands)))
    while growing:
        for flow in sorted(growing):
            demand = demands[flow]
            more = piece * demand.weight
            if rates[flow] + more > demand.ceiling or any(left[link] < more for link in demand.links):
                growing.discard(flow)
                continue
            rates[flow] += more
            for link in demand.links:
                left[link] -= more
    return rates


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Demand[int]], dict[int, float]]:
    """Up to seven flows over up to three of five links."""
    capacities = {link: float(draw(st.integers(1, 100))) for link in range(5)}
    links = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True).map(tuple)
    ceilings = st.one_of(st.just(INF), st.integers(0, 80).map(float))
    return draw(st.lists(st.builds(Demand, links, ceilings, st.integers(1, 4)), max_size=7)), capacities


@given(networks())
def test_rates_match_brute_force_filling(network: tuple[list[Demand[int]], dict[int, float]]) -> None:
    """The closed form and the brute force agree on every flow."""
    demands, capacities = network
    expected = brute_force_rates(demands, capacities)
    assert max_min_rates(demands, capacities) == pytest.approx(expected, abs=0.005 * max(capacities.values()))


@given(networks())
def test_no_flow_can_grow_without_reducing_one_with_no_higher_rate(
    network: tuple[list[Demand[int]], dict[int, float]],
) -> None:
    """The definition: each flow is at its ceiling, or passes a full link on which no flow has more per connection."""
    demands, capacities = network
    rates = max_min_rates(demands, capacities)
    used = {link: sum(r for r, d in zip(rates, demands, strict=True) if link in d.links) for link in capacities}
    assert all(used[link] <= capacities[link] * (1 + 1e-9) for link in capacities)
    for rate, demand in zip(rates, demands, strict=True):
        full = [link for link in demand.links if used[link] >= capacities[link] * (1 - 1e-9)]
        most = {
            link: max(r / d.weight for r, d in zip(rates, demands, strict=True) if link in d.links) for link in full
        }
        assert rate == demand.ceiling or any(rate / demand.weight >= most[link] * (1 - 1e-9) for link in full)


@pytest.mark.parametrize(("capacity", "weights"), list(itertools.product([1.0, 12.5e9], [(1, 1), (1, 3), (64, 1, 1)])))
def test_connections_on_one_link_share_it_evenly(capacity: float, weights: tuple[int, ...]) -> None:
    """A transfer over n connections gets n shares."""
    rates = max_min_rates([Demand((0,), INF, weight) for weight in weights], {0: capacity})
    assert rates == pytest.approx([capacity * weight / sum(weights) for weight in weights])
