"""GPUs shared by tiers, and the GPUs that each tier needs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.conftest import AGGRESSOR, BYSTANDER, CALLER, GPUS, STEP, VICTIM, Scene, world_of_scene

from foreshock_dashboard.analysis.saturation.pooling import safe_load, shared_gpus, tier_by_service, tier_needs
from foreshock_dashboard.model.world import World


def platform(busy: float = 0.3, gpu_wait: float = 0.0) -> World:
    """A victim, and two others, on both GPUs; every tenant is as busy."""
    world = world_of_scene(Scene())
    shape = world.busy.shape
    return replace(world, busy=np.full(shape, busy), gpu_wait=np.full(shape, gpu_wait), memory=np.full(shape, np.nan))


def test_tiers_are_as_configured_or_else_namespaces() -> None:
    """A service without a tier among others with one has the tier ""."""
    world = platform()
    assert tier_by_service(world) == {AGGRESSOR: "ml", BYSTANDER: "ml", CALLER: "product", VICTIM: "serving"}
    configured = replace(world, tier=tuple("gold" if service == VICTIM else "" for service in world.services))
    assert tier_by_service(configured) == {AGGRESSOR: "", BYSTANDER: "", CALLER: "", VICTIM: "gold"}


def test_a_gpu_with_services_of_two_tiers_is_shared() -> None:
    """With the services of each tier."""
    world = platform()
    result = shared_gpus(replace(world, pool=("chat", "chat")))
    assert [(item.gpu, item.pool) for item in result] == [(GPUS[0], "chat"), (GPUS[1], "chat")]
    assert result[0].tiers == {"ml": (AGGRESSOR, BYSTANDER), "serving": (VICTIM,)}
    alone = replace(world, tier=("one",) * len(world.services))
    assert shared_gpus(alone) == ()


def test_a_tier_needs_its_load_over_the_safe_load() -> None:
    """Steady requests need the load rounded up; bursts need more; batch work needs no room for bursts."""
    world = platform()
    steady = {need.tier: need for need in tier_needs(world)}
    assert steady["ml"].load == pytest.approx(1.2)
    assert (steady["ml"].safe, steady["ml"].needed, steady["ml"].by) == (1.0, 2, "load")
    assert (steady["ml"].used, steady["ml"].shared) == (2, 2)
    assert steady["serving"].load == pytest.approx(0.6)
    assert steady["serving"].needed == 1

    rate = world.red.rate.copy()
    rate[world.services.index(VICTIM)] = np.where(np.arange(rate.shape[1]) // 6 % 2, 9.0, 1.0)
    bursty = {need.tier: need for need in tier_needs(replace(world, red=replace(world.red, rate=rate)))}
    assert bursty["serving"].safe == pytest.approx(1 / (1 + 3 * 0.8), rel=0.1)
    assert bursty["serving"].needed == 3


def test_waiting_work_counts_as_load() -> None:
    """Up to the whole GPU."""
    load = {need.tier: need.load for need in tier_needs(platform(0.5, 0.4))}
    assert load["serving"] == pytest.approx(1.8)
    assert {need.tier: need.load for need in tier_needs(platform(0.9, 0.9))}["serving"] == pytest.approx(2.0)


def test_memory_needs_gpus_too() -> None:
    """A tier fits by its load but not by its memory."""
    world = platform(0.05)
    held = np.full(world.busy.shape, 45e9)
    total = np.full((len(GPUS), world.busy.shape[1]), 80e9)
    result = {need.tier: need for need in tier_needs(replace(world, memory=held, memory_total=total))}
    assert (result["serving"].needed, result["serving"].by) == (2, "memory")
    assert (result["ml"].needed, result["ml"].by) == (3, "memory")


def test_unknown_data_needs_one_gpu() -> None:
    """NaN everywhere is a defined answer."""
    world = platform(math.nan, math.nan)
    assert {need.tier: (need.load, need.needed) for need in tier_needs(world)} == {"ml": (0.0, 1), "serving": (0.0, 1)}


@given(
    st.lists(st.floats(0.1, 100.0), min_size=120, max_size=400),
    st.floats(0.01, 1000.0),
)
def test_the_safe_load_is_a_share_independent_of_units(values: list[float], scale: float) -> None:
    """Between 0 and 1, and 1 for constant work."""
    work = np.array(values)
    result = safe_load(work, STEP)
    assert 0 < result <= 1
    assert safe_load(work * scale, STEP) == pytest.approx(result)
    assert safe_load(np.full(len(work), values[0]), STEP) == pytest.approx(1.0)


def test_poisson_arrivals_follow_the_formula() -> None:
    """IDC = 1: 1 / (1 + z / √(λw))."""
    counts = np.random.default_rng(1).poisson(100.0, 4000)
    assert safe_load(np.repeat(counts, 6) / 60.0, STEP) == pytest.approx(1 / (1 + 3 / 10), rel=0.03)


@pytest.mark.parametrize("work", [np.empty(0), np.full(500, np.nan), np.zeros(500), np.array([1.0, 2.0, 3.0])])
def test_too_few_windows_have_no_safe_load(work: np.ndarray) -> None:
    """Neither of a few points nor of none."""
    assert math.isnan(safe_load(work, STEP))
