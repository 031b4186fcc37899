"""Replicas follow the documented algorithm of the Kubernetes HorizontalPodAutoscaler."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.control.autoscaler import Autoscaler, Behavior, recommend
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import AutoscalerSpec


@pytest.mark.parametrize(
    ("current", "ready", "metric", "target", "wanted", "because"),
    [
        (1, 1, 200.0, 100.0, 2, "the documentation: 200m against 100m doubles, as 200.0 / 100.0 is 2.0"),
        (2, 2, 50.0, 100.0, 1, "the documentation: 50m halves, as 50.0 / 100.0 is 0.5"),
        (50, 50, 90.0, 75.0, 60, "the blog on tolerance: 50 × 90 / 75"),
        (10, 10, 110.0, 100.0, 10, "a ratio within a tolerance of 0.1 changes nothing"),
        (10, 10, 90.0, 100.0, 10, "below as above"),
        (10, 10, 111.0, 100.0, 12, "beyond it the result is rounded up: 11.1"),
        (10, 10, 89.0, 100.0, 9, "and down as well: 8.9"),
        (3, 3, 0.2, 0.6, 1, "3 · 0.2 / 0.6 is one, whatever floating point says"),
        (4, 4, 0.0, 0.5, 0, "nothing to do: the minimum decides"),
        (4, 2, 2.0, 1.0, 4, "those not ready count as idle in going up: 4 / 4 is enough"),
        (4, 3, 2.0, 1.0, 6, "going up dampened: 6 / 4 · 4"),
        (6, 5, 1.3, 1.0, 6, "1.3 · 5 / 6 = 1.083 is within the tolerance then"),
        (8, 2, 2.0, 1.0, 8, "2 · 2 / 8 = 0.5 would turn the direction round: all stays"),
        (4, 2, 0.5, 1.0, 1, "in going down those not ready have no say"),
        (4, 0, 9.0, 1.0, 4, "none is ready: no metric"),
        (4, 4, nan, 1.0, 4, "no metric, no change"),
    ],
)
def test_the_recommendation_follows_the_documented_algorithm(
    current: int, ready: int, metric: float, target: float, wanted: int, because: str
) -> None:
    """⌈ready · metric / target⌉, with its exceptions."""
    assert recommend(current, ready, metric, target) == wanted, because


@pytest.mark.parametrize(
    ("current", "recommended", "wanted"),
    [(1, 40, 5), (4, 40, 8), (5, 40, 10), (30, 100, 60), (30, 31, 31)],
)
def test_scale_up_is_limited_to_four_pods_or_doubling_in_fifteen_seconds(
    current: int, recommended: int, wanted: int
) -> None:
    """The larger of the two."""
    assert Behavior(1, 1000, 300.0).decide(0.0, current, recommended) == wanted


def test_the_scale_up_limit_includes_pods_added_within_the_period() -> None:
    """More frequent evaluations do not grow faster: 10 at the start of a period allow 20 at its end."""
    behavior = Behavior(1, 1000, 300.0)
    assert behavior.decide(0.0, 10, 15) == 15
    assert behavior.decide(5.0, 15, 100) == 20
    assert behavior.decide(10.0, 20, 100) == 20
    assert behavior.decide(15.0, 20, 100) == 30


def test_scale_down_follows_the_highest_recommendation_of_the_window() -> None:
    """The documented stabilization: 300 s by default, then all at once."""
    behavior = Behavior(1, 100, 300.0)
    current = 10
    seen = []
    for look in range(24):
        current = behavior.decide(15.0 * look, current, 10 if look == 0 else 7 if look == 2 else 3)
        seen.append(current)
    assert seen == [10] * 20 + [7, 7, 3, 3]


@given(
    st.integers(1, 5), st.integers(0, 30), st.lists(st.tuples(st.integers(0, 200), st.floats(1.0, 60.0)), max_size=40)
)
def test_desired_replicas_stay_within_limits(minimum: int, more: int, looks: list[tuple[int, float]]) -> None:
    """Between minimum and maximum and within the scale-up limit. They never fall on a recommendation to scale up."""
    behavior, now, current, past = Behavior(minimum, minimum + more, 120.0), 0.0, minimum, [(0.0, minimum)]
    for recommended, pause in looks:
        now += pause
        wanted = behavior.decide(now, current, recommended)
        assert minimum <= wanted <= minimum + more
        before = max(count for at, count in past if at > now - 15.0 or (at, count) == past[-1])
        assert wanted <= max(before + 4, 2 * before)
        if recommended >= current:
            assert wanted >= min(current, minimum + more)
        past += [(now, current), (now, wanted)]
        current = wanted


@dataclass
class Replicas:
    """A scalable target, all of it ready at once; `load` is shared evenly."""

    engine: Engine
    load: float
    desired: int = 1
    history: list[tuple[float, int]] = field(default_factory=list)

    @property
    def ready(self) -> int:
        """All replicas."""
        return self.desired

    def metric(self, name: str) -> float:
        """Load of each replica."""
        assert name == "in_flight"
        return self.load / self.desired

    def scale_to(self, count: int) -> None:
        """Takes effect at once."""
        self.desired = count
        self.history.append((self.engine.now, count))


SPEC = AutoscalerSpec("in_flight", target=10.0, minimum=1, maximum=30)
NAME = ServiceName("serving", "llm")


def test_an_autoscaler_evaluates_every_fifteen_seconds_and_converges_to_its_target() -> None:
    """160 requests at 10 each need 16 replicas: 5, 10, 16. A window after the load has ended, 2."""
    engine = Engine()
    replicas = Replicas(engine, load=160.0)
    scaler = Autoscaler(engine, NAME, SPEC, replicas)
    engine.run(600.0)
    replicas.load = 20.0
    engine.run(1200.0)
    assert replicas.history == [(15.0, 5), (30.0, 10), (45.0, 16), (900.0, 2)]
    assert scaler.value == 10.0


def test_a_short_window_flaps_with_an_oscillating_load() -> None:
    """It follows each swing; with the default window it does not scale down at all."""
    moves = {}
    for window in (0.0, 300.0):
        engine = Engine()
        replicas = Replicas(engine, load=20.0)
        Autoscaler(engine, NAME, AutoscalerSpec("in_flight", target=10.0, down_window=window), replicas)
        for swing in range(20):
            replicas.load = 40.0 if swing % 2 else 20.0
            engine.run(60.0 * (swing + 1))
        moves[window] = len(replicas.history)
    assert moves[0.0] == 20
    assert moves[300.0] <= 3


@pytest.mark.parametrize(
    "spec", [AutoscalerSpec("cpu", target=0.0), AutoscalerSpec("cpu", target=1.0, minimum=5, maximum=2)]
)
def test_an_invalid_autoscaler_is_rejected(spec: AutoscalerSpec) -> None:
    """With its name and the reason."""
    with pytest.raises(ValueError, match="autoscaler of serving/llm"):
        Autoscaler(Engine(), NAME, spec, Replicas(Engine(), 1.0))
