"""Restarts of replicas that ended by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from foreshock_lab.system.kubelet import BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, STABLE_SECONDS, Kubelet


@dataclass
class Replica:
    """A replica that runs for some seconds after each start."""

    lifetime: float
    now: float = 0.0
    name: str = "cart-0"
    wanted: bool = True
    started: float = 0.0
    restarts: int = 0
    starts: list[float] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.now < self.started + self.lifetime

    def start(self) -> None:
        self.started = self.now
        self.starts.append(self.now)


def watch(replica: Replica, seconds: int) -> list[float]:
    kubelet = Kubelet()
    for tick in range(10 * seconds):
        replica.now = tick / 10
        kubelet.check(replica, replica.now)
    return replica.starts


def test_a_replica_that_runs_is_left_alone() -> None:
    assert watch(Replica(lifetime=1e9), 60) == []


def test_a_replica_that_was_stopped_stays_so() -> None:
    assert watch(Replica(lifetime=0.0, wanted=False), 60) == []


def test_a_crash_loop_starts_later_each_time_up_to_a_limit() -> None:
    replica = Replica(lifetime=0.5)
    starts = watch(replica, 200)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == sorted(gaps)
    assert gaps[-1] <= MAX_BACKOFF_SECONDS + 1.0
    assert gaps[1] > 1.5 * gaps[0]
    assert replica.restarts == len(starts)


def test_a_replica_that_was_stable_starts_at_once() -> None:
    starts = watch(Replica(lifetime=STABLE_SECONDS + 10), 400)
    assert len(starts) == 5
    assert all(
        gap < STABLE_SECONDS + 10 + BACKOFF_SECONDS + 0.5 for gap in [starts[1] - starts[0], starts[-1] - starts[-2]]
    )
