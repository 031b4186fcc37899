"""Random scenarios: a seed gives one valid scenario, and the seeds give every kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.scenarios.drawn import KINDS, draw
from foreshock_simulator.scenarios.load import load, parse
from foreshock_simulator.spec.faults import PolicyChange
from foreshock_simulator.spec.queries import without_root_cause
from foreshock_simulator.spec.scenario import Cause


@given(st.integers(0, 2**63))
def test_every_seed_draws_a_valid_scenario_and_always_the_same(seed: int) -> None:
    """Also as a file; without its root cause, none of its faults is left that needs it."""
    spec = load("random", "small", seed)
    assert spec == replace(parse(draw(seed).text, "drawn.yaml", "small", seed), name="random")
    assert spec.duration - max((fault.at for fault in spec.faults), default=0.0) >= 20 * 60
    if spec.expects.root_cause:
        assert spec.expects.cascade is None, "the run decides"
        assert len(without_root_cause(spec, spec.expects.root_cause).faults) < len(spec.faults)


def test_the_seeds_of_a_suite_draw_all_kinds_of_faults_on_two_sizes() -> None:
    drawn = [draw(seed) for seed in range(400)]
    assert Counter(item.kind for item in drawn).keys() == KINDS.keys()
    assert {item.size for item in drawn} == {"small", "medium"}
    causes = {parse(item.text, "drawn.yaml").expects.cause for item in drawn[:120]}
    assert causes >= set(get_args(Cause)) - {"load_imbalance"}


def test_a_drawn_cause_is_possible() -> None:
    """Without an autoscaler nothing lags, and without retries there is no retry storm; the description says so."""
    specs = [parse(draw(seed).text, "drawn.yaml") for seed in (*range(60), *range(1001, 1061))]
    for spec in specs:
        model = next(service for service in spec.platform.services if service.name.name == "llm-chat")
        assert spec.expects.cause != "scale_up_lag" or model.autoscaler
        assert ("without an autoscaler of llm-chat" in spec.description) == (model.autoscaler is None)
        single = [fault for fault in spec.faults if isinstance(fault, PolicyChange) and fault.attempts == 1]
        assert not single or (spec.expects.cause, spec.expects.root_cause) == (None, "gateway")
    assert {"scale_up_lag", "retry_storm"} <= {spec.expects.cause for spec in specs}


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_drawn_scenario_fits_on_the_platform_that_its_seed_draws(seed: int) -> None:
    spec = load("random", seed=seed)
    assert len(spec.platform.services) == {"small": 5, "medium": 25}[draw(seed).size]
    assert spec.description.endswith(".")
