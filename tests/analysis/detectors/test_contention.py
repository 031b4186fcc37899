"""GPU contention: squeezed and pressed services, and harmless look-alikes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.detectors.platform import texts

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.gpu_contention import gpu_contention, predicted_slowdown
from foreshock_dashboard.model.types import Floats

Kit = Any
Holes = list[tuple[int, int, float]]


def shared(kit: Kit, **changes: object) -> Kit:
    """`llm` has four fifths of two full GPUs and `batch` the rest; `batch` takes most of them at once."""
    given = {
        "services": {"llm": kit.Served()},
        "busy": {
            **{(n, "llm"): kit.windowed(0.80, 0.28) for n in (1, 2)},
            **{(n, "batch"): kit.windowed(0.18, 0.72) for n in (1, 2)},
        },
        "gpu_wait": {
            **{(n, "llm", "batch"): kit.windowed(0.18, 0.72) for n in (1, 2)},
            **{(n, "batch", "llm"): kit.windowed(0.80, 0.28) for n in (1, 2)},
        },
    }
    return kit.Platform(**{**given, **changes})


def likely_finding(kit: Kit, findings: Iterable[Finding], name: str = "llm") -> Finding | None:
    """The finding of a service, if it is likely."""
    return next(
        (finding for finding in findings if finding.service == kit.service(name) and finding.strength >= 0.5), None
    )


def test_a_neighbor_on_a_full_gpu_is_found_within_two_scrapes(platforms: Kit) -> None:
    """Before any duration moves, and long before the rate window has passed."""
    finding = likely_finding(platforms, gpu_contention(shared(platforms).point(later=2)))

    assert finding is not None
    assert finding.suspect.service == platforms.service("batch")
    assert [gpu.label for gpu in finding.suspect.gpus] == ["host-1/gpu-0", "host-2/gpu-0"]
    assert finding.urgent
    assert finding.severity == pytest.approx(0.80 / 0.28, rel=0.15)
    assert finding.since == pytest.approx(1_800_000_000 + 2410, abs=10)


@pytest.mark.parametrize(
    ("tiers", "words"),
    [
        (("batch", "interactive"), "Give tier interactive a dedicated GPU pool."),
        (("same", "same"), ""),
        ((), ""),
    ],
)
def test_neighbors_of_two_tiers_get_dedicated_pools(platforms: Kit, tiers: tuple[str, ...], words: str) -> None:
    """If their tiers are known."""
    point = shared(platforms).point(later=10)
    parted = EvaluationPoint(replace(point.world, tier=tiers), point.column, point.baselines)
    finding = likely_finding(platforms, gpu_contention(parted))

    assert finding is not None
    assert (words or "Move batch off") in texts(finding.actions)
    assert ("dedicated" in texts(finding.actions)) == bool(words)


def test_the_action_and_the_evidence_name_shares(platforms: Kit) -> None:
    """The cap is the neighbor's baseline share."""
    finding = likely_finding(platforms, gpu_contention(shared(platforms).point(later=10)))

    assert finding is not None
    assert texts(finding.actions) == (
        "Move batch off host-1/gpu-0 and host-2/gpu-0."
        " llm gets 28% of GPU time (baseline 80%)."
        " Cap batch at 18% of GPU time on host-1/gpu-0 and host-2/gpu-0 (restarts its pods)."
    )
    assert [(item.entity, round(item.value, 2), round(item.baseline, 2)) for item in finding.evidence] == [
        ("llm", 0.28, 0.80),
        ("batch", 0.72, 0.18),
        ("llm waiting on batch", 0.72, 0.18),
        ("llm", 0.1, 0.1),
    ]


def pressed(kit: Kit, **changes: object) -> Kit:
    """`llm` has a tenth of a GPU that `batch` fills, and becomes slow."""
    given: dict[str, object] = {
        "services": {"llm": kit.Served(p95=kit.step(0.4, 0.9))},
        "busy": {(1, "llm"): 0.1, (1, "batch"): kit.windowed(0.3, 0.85)},
        "gpu_wait": {(1, "llm", "batch"): kit.windowed(0.02, 0.5)},
    }
    return shared(kit, **{**given, **changes})


def test_a_slower_service_that_waits_more_is_pressed(platforms: Kit) -> None:
    """Its own share of the GPU is too small to show a loss."""
    finding = likely_finding(platforms, gpu_contention(pressed(platforms).point(later=8)))

    assert finding is not None
    assert finding.suspect.service == platforms.service("batch")
    assert finding.severity == pytest.approx(0.9 / 0.4, rel=0.01)


@pytest.mark.parametrize(
    ("share", "p95", "is_likely"),
    [
        pytest.param(0.68, 0.4, False, id="it lost some GPU time"),
        pytest.param(0.80, 0.52, False, id="it is somewhat slower"),
        pytest.param(0.68, 0.52, True, id="both"),
    ],
)
def test_lost_gpu_time_and_slower_requests_add_up(platforms: Kit, share: float, p95: float, *, is_likely: bool) -> None:
    shares = {(n, "llm"): platforms.windowed(0.80, share) for n in (1, 2)}
    grown = platforms.windowed(0.18, 0.30)
    platform = shared(
        platforms,
        services={"llm": platforms.Served(p95=platforms.step(0.4, p95))},
        busy={**shares, **{(n, "batch"): grown for n in (1, 2)}},
        gpu_wait={(n, "llm", "batch"): grown for n in (1, 2)},
    )
    assert (likely_finding(platforms, gpu_contention(platform.point(later=8))) is not None) == is_likely


def light(kit: Kit, **changes: object) -> Kit:
    """`llm` has a fiftieth of a GPU, too little for a measured wait, becomes slow, and `batch` fills the GPU."""
    given: dict[str, object] = {
        "services": {"llm": kit.Served(p95=kit.step(0.4, 0.9))},
        "busy": {(1, "llm"): 0.02, (1, "batch"): kit.windowed(0.3, 0.97)},
        "gpu_wait": {(1, "llm", "batch"): 0.0},
    }
    return shared(kit, **{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(lambda _: {}, id="no measured wait"),
        pytest.param(lambda _: {"gpu_wait": {}}, id="no GPU wait at all"),
        pytest.param(lambda kit: {"gpu_wait": {(1, "llm", "batch"): kit.step(0.0, 0.04)}}, id="a little measured wait"),
        pytest.param(
            lambda kit: {
                "busy": {(1, "llm"): 0.02, (1, "batch"): kit.windowed(0.3, 0.8)},
                "gpu_wait": {(1, "llm", "batch"): kit.step(0.0, 0.4)},
            },
            id="a measured wait where the GPU is full at times only",
        ),
    ],
)
def test_a_service_too_light_for_a_measured_wait_is_pressed(
    platforms: Kit, changes: Callable[[Kit], dict[str, object]]
) -> None:
    """Its requests find the GPU taken for the neighbor's share of the time."""
    finding = likely_finding(platforms, gpu_contention(light(platforms, **changes(platforms)).point(later=8)))

    assert finding is not None
    assert finding.suspect.service == platforms.service("batch")
    assert finding.since == pytest.approx(1_800_000_000 + 2410, abs=10)
    assert finding.severity == pytest.approx(0.9 / 0.4, rel=0.01)


def test_the_share_of_the_neighbor_is_the_reason_where_that_of_the_service_did_not_fall(platforms: Kit) -> None:
    """A wait that is not measured is no evidence."""
    finding = likely_finding(platforms, gpu_contention(light(platforms).point(later=8)))

    assert finding is not None
    assert "batch gets 97% of GPU time (baseline 30%)." in texts(finding.actions)
    assert [(item.entity, round(item.value, 2), round(item.baseline, 2)) for item in finding.evidence] == [
        ("llm", 0.02, 0.02),
        ("batch", 0.97, 0.30),
        ("llm", 0.9, 0.4),
    ]


HARMLESS: dict[str, Callable[[Kit], Kit]] = {
    "the service has less load, and the neighbor takes the rest": lambda kit: shared(
        kit, gpu_wait={(n, "llm", "batch"): 0.18 for n in (1, 2)}
    ),
    "unknown waiting, fewer requests, and no slowdown": lambda kit: shared(
        kit, gpu_wait={}, running={"llm": kit.step(20.0, 5.0)}
    ),
    "the two are on separate MIG instances": lambda kit: shared(
        kit, gpu_wait={(1, "other", "batch"): 0.1}, services={"llm": kit.Served(p95=kit.step(0.4, 1.0))}
    ),
    "the GPU is not full": lambda kit: shared(
        kit,
        busy={(1, "llm"): kit.windowed(0.30, 0.15), (1, "batch"): kit.windowed(0.1, 0.4)},
        gpu_wait={},
        running={"llm": 20.0},
    ),
    "it is slower but waits no longer": lambda kit: pressed(kit, gpu_wait={(1, "llm", "batch"): 0.02}),
    "a light service is not slower": lambda kit: light(kit, services={"llm": kit.Served()}),
    "a light service is slower, and the GPU is not full": lambda kit: light(
        kit, busy={(1, "llm"): 0.02, (1, "batch"): kit.windowed(0.3, 0.8)}
    ),
    "a light service is slower, and the neighbor grew on another GPU": lambda kit: light(
        kit, busy={(1, "llm"): 0.02, (1, "batch"): 0.95, (2, "batch"): kit.windowed(0.3, 0.97)}
    ),
    "a light service is slower beside a neighbor that is always as busy": lambda kit: light(
        kit, busy={(1, "llm"): 0.02, (1, "batch"): 0.95}
    ),
    "a light service grew itself, and its wait is measured": lambda kit: light(
        kit, busy={(1, "llm"): kit.windowed(0.02, 0.3), (1, "batch"): kit.windowed(0.3, 0.69)}
    ),
    "its durations always vary as much": lambda kit: pressed(
        kit, services={"llm": kit.Served(p95=lambda i: 1.3 if i >= 240 else (0.3, 0.5, 0.9)[i // 6 % 3])}
    ),
    "the victim itself grew": lambda kit: shared(
        kit,
        busy={(1, "llm"): kit.windowed(0.2, 0.6), (1, "batch"): kit.windowed(0.2, 0.38)},
        gpu_wait={(1, "llm", "batch"): kit.windowed(0.05, 0.38)},
        services={"llm": kit.Served(p95=kit.step(0.4, 0.9))},
    ),
    "no change": lambda kit: shared(
        kit, busy={(1, "llm"): 0.28, (1, "batch"): 0.72}, gpu_wait={(1, "llm", "batch"): 0.72}
    ),
    "a lower clock explains the slowdown": lambda kit: shared(
        kit,
        busy={(1, "llm"): kit.windowed(0.4, 0.36), (1, "batch"): kit.windowed(0.3, 0.45)},
        gpu_wait={(1, "llm", "batch"): kit.windowed(0.1, 0.3)},
        services={"llm": kit.Served(p95=kit.step(0.4, 0.9))},
        clock={1: kit.step(1.0, 0.45)},
    ),
    "it has no requests": lambda kit: shared(kit, services={}),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_no_neighbor_is_suspected(platforms: Kit, name: str) -> None:
    """Look-alikes are not likely at any time after they begin."""
    platform = HARMLESS[name](platforms)

    assert [likely_finding(platforms, gpu_contention(platform.point(later))) for later in range(12)] == [None] * 12


def test_the_neighbor_that_explains_the_slowdown_is_suspected(platforms: Kit) -> None:
    """A bystander grew more, but that cost the service nothing."""
    several = shared(
        platforms,
        services={"llm": platforms.Served(p95=platforms.step(0.4, 1.2, at=270))},
        busy={
            (1, "llm"): lambda i: 0.60 if i < 240 else 0.35 if i < 270 else 0.15,
            (1, "bystander"): platforms.step(0.10, 0.35),
            (1, "batch"): platforms.step(0.25, 0.45, at=270),
        },
        gpu_wait={
            (1, "llm", "batch"): platforms.step(0.25, 0.45, at=270),
            (1, "llm", "bystander"): platforms.step(0.10, 0.35),
        },
    )

    finding = likely_finding(platforms, gpu_contention(several.point(later=45)))

    assert finding is not None
    assert finding.suspect.service == platforms.service("batch")


def test_every_affected_service_of_a_neighbor_is_found(platforms: Kit) -> None:
    """On their own GPUs, without the service beside no neighbor."""
    two = shared(
        platforms,
        services={name: platforms.Served() for name in ("llm", "code", "spared")},
        busy={
            (1, "llm"): platforms.windowed(0.8, 0.28),
            (1, "batch"): platforms.windowed(0.18, 0.72),
            (2, "code"): platforms.windowed(0.7, 0.4),
            (2, "batch"): platforms.windowed(0.28, 0.6),
            (3, "spared"): 0.95,
        },
        gpu_wait={
            (1, "llm", "batch"): platforms.windowed(0.18, 0.72),
            (2, "code", "batch"): platforms.windowed(0.28, 0.6),
        },
    )

    findings = list(gpu_contention(two.point(later=8)))

    assert {str(finding.service) for finding in findings if finding.strength >= 0.5} == {"llm", "code"}
    assert {str(finding.suspect.service) for finding in findings} == {"batch"}


def test_a_new_neighbor_grew_from_zero(platforms: Kit) -> None:
    """Its baseline share is 0, and it began when it appeared."""
    new = shared(
        platforms,
        busy={
            (1, "llm"): platforms.windowed(0.95, 0.4),
            (1, "batch"): lambda i: np.nan if i < 240 else platforms.windowed(0.0, 0.6)(i),
        },
        gpu_wait={(1, "llm", "batch"): lambda i: np.nan if i < 240 else platforms.windowed(0.0, 0.6)(i)},
    )

    finding = likely_finding(platforms, gpu_contention(new.point(later=8)))

    assert finding is not None
    assert finding.since == 1_800_000_000 + 2410


HOLES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 59), st.floats(0, 1) | st.just(np.nan)), max_size=60)


@given(busy=HOLES, gpu_wait=HOLES)
@settings(max_examples=settings().max_examples // 2)
def test_missing_values_have_defined_findings(platforms: Kit, busy: Holes, gpu_wait: Holes) -> None:
    """NaN, extreme values, one sample: strength 0 to 1 and finite severity, or no finding."""
    world = shared(platforms, points=60, at=40).world()
    world = replace(world, busy=_holed(world.busy, busy), gpu_wait_by=_holed(world.gpu_wait_by, gpu_wait))

    for at in (0, 1, 45, 59):
        for finding in gpu_contention(EvaluationPoint(world, at, baselines_at(world, min(at, 40)))):
            assert 0 < finding.strength <= 1
            assert 1 <= finding.severity <= 20
            assert np.isfinite(finding.since)


def _holed(values: Floats, holes: Holes) -> Floats:
    out = values.copy()
    for row, column, value in holes:
        out[row, column] = value
    return out


@given(factor=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_findings_do_not_depend_on_the_unit_of_durations(platforms: Kit, factor: float) -> None:
    """All latencies scaled alike change no finding."""
    slower = {"llm": platforms.Served(p95=lambda i: factor * (0.4 if i < 240 else 1.0))}

    findings = list(gpu_contention(shared(platforms, services=slower).point(8)))

    assert [str(finding.suspect.service) for finding in findings] == ["batch"]
    assert findings[0].strength == pytest.approx(1.0)
    assert findings[0].severity == pytest.approx(0.8 / 0.28, rel=0.1)


@pytest.mark.parametrize(
    ("baseline", "now", "full", "slower"),
    [
        ([0.8, 0.8], [0.4, 0.4], [True, True], 2.0),
        ([0.8, 0.8], [0.4, 0.8], [True, True], 1.5),
        ([0.8, 0.8], [0.4, 0.4], [False, False], 1.0),
        ([0.8], [0.0], [True], 20.0),
        ([0.01], [0.001], [True], 1.0),
        ([np.nan], [np.nan], [True], 1.0),
        ([], [], [], 1.0),
    ],
)
def test_the_predicted_slowdown_is_baseline_over_current_share(
    baseline: list[float], now: list[float], full: list[bool], slower: float
) -> None:
    """Mean over GPUs, weighted by baseline share; a GPU that is not full slows nothing."""
    assert predicted_slowdown(np.array(baseline), np.array(now), np.array(full, dtype=bool)) == pytest.approx(slower)
