"""Tenants' shares of GPUs, now and at the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.analysis.baseline.gpu_shares import GpuShares, pool_of
from foreshock_dashboard.analysis.baseline.point import gpu_pools
from foreshock_dashboard.analysis.detectors.finding import lost_gpu_time
from foreshock_dashboard.model.world import Gpu

Kit = Any


def sharing(kit: Kit, later: int, **busy: Any) -> GpuShares:  # noqa: ANN401 - courses
    """Of services on one GPU."""
    return GpuShares(kit.Platform(busy={(1, name): course for name, course in busy.items()}).point(later))


@pytest.mark.parametrize(("later", "now", "newest"), [(0, 0.8, 0.8), (1, 0.5, 0.35), (2, 0.2, 0.2), (3, 0.2, 0.2)])
def test_half_a_step_is_extrapolated_and_a_whole_one_is_not(
    platforms: Kit, later: int, now: float, newest: float
) -> None:
    """A rate over two intervals shows a step in two halves."""
    shares = sharing(platforms, later, a=platforms.windowed(0.8, 0.2), b=platforms.windowed(0.2, 0.8))

    assert shares.baseline == pytest.approx([0.8, 0.2])
    assert shares.now == pytest.approx([now, 1 - now])
    assert shares.newest == pytest.approx([newest, 1 - newest])


def test_a_return_to_the_baseline_is_not_extrapolated(platforms: Kit) -> None:
    ends = platforms.windowed(0.3, 0.8, at=270)

    def part(i: int) -> float:
        return ends(i) if i >= 240 else 0.8

    shares = sharing(platforms, 31, a=part, b=lambda i: 1 - part(i))

    assert shares.now == pytest.approx([0.55, 0.45])
    assert shares.newest == pytest.approx([0.55, 0.45])


def test_a_lost_scrape_changes_no_share(platforms: Kit) -> None:
    """A rate over a window with a gap is too small for all tenants alike."""
    shares = sharing(platforms, 3, a=platforms.step(0.8, 0.4), b=platforms.step(0.18, 0.09))

    assert shares.now == pytest.approx([0.8, 0.18])


def test_a_missing_scrape_keeps_the_previous_shares(platforms: Kit) -> None:
    """For `SMOOTHING_POINTS` points."""
    shares = sharing(platforms, 1, a=platforms.step(0.6, np.nan), b=platforms.step(0.4, np.nan))

    assert shares.now == pytest.approx([0.6, 0.4])


def test_the_baseline_of_a_new_tenant_is_0_on_a_known_gpu_and_unknown_on_a_new_one(platforms: Kit) -> None:
    known = sharing(platforms, 5, a=platforms.step(0.9, 0.5), b=platforms.step(np.nan, 0.5))
    unknown = sharing(platforms, 5, a=platforms.step(np.nan, 0.5), b=platforms.step(np.nan, 0.5))

    assert known.baseline == pytest.approx([0.9, 0.0])
    assert np.isnan(unknown.baseline).all()


@pytest.mark.parametrize(("busy", "full"), [(0.89, False), (0.91, True)])
def test_a_gpu_is_full_from_90_percent(platforms: Kit, busy: float, full: bool) -> None:
    """As the exporter counts contended time."""
    assert sharing(platforms, 0, a=busy / 2, b=busy / 2).full.tolist() == [full, full]


@pytest.mark.parametrize(
    ("pools", "pool"), [(("chat", "chat"), "chat"), (("chat", "embed"), ""), ((), ""), (("", ""), "")]
)
def test_gpus_have_a_pool_if_it_is_unique(platforms: Kit, pools: tuple[str, ...], pool: str) -> None:
    world = platforms.Platform(busy={(1, "a"): 0.1, (2, "a"): 0.1}).world()

    known = gpu_pools(world.gpus, pools)

    assert pool_of(known, world.gpus) == pool
    assert pool_of(known, [Gpu("elsewhere", "0", "GPU-9")]) == ""


@pytest.mark.parametrize(
    ("own_busy", "other_busy", "is_squeezed"),
    [
        pytest.param(0.3, 0.7, True, id="a neighbor has it"),
        pytest.param(0.3, 0.15, False, id="a lost scrape took half of everybody's"),
        pytest.param(0.6, 0.3, False, id="as in the baseline"),
        pytest.param(np.nan, 0.3, False, id="it is there no more"),
    ],
)
def test_a_service_that_lost_gpu_time_to_others_is_squeezed(
    platforms: Kit, own_busy: float, other_busy: float, is_squeezed: bool
) -> None:
    busy = {(1, "a"): platforms.step(0.6, own_busy), (1, "b"): platforms.step(0.3, other_busy)}
    assert (lost_gpu_time(platforms.Platform(busy=busy).point(5), platforms.service("a")) > 0.5) == is_squeezed
