"""The scheduler of GPU collection, with threads stepped by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from foreshock_exporter.gpu.scheduler import DEDICATED_SECONDS, SLOW_PASS_SECONDS, STUCK_AFTER_SECONDS, Scheduler


@dataclass
class Stage:
    """Threads stepped by the test; `takes` has the duration of a pass over each GPU."""

    time: float = 0.0
    takes: dict[str, float] = field(default_factory=dict)
    meets: dict[str, Callable[[], None]] = field(default_factory=dict)
    threads: list[tuple[str, Callable[[float], bool]]] = field(default_factory=list)
    passes: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns: Scheduler[str] = Scheduler(self.look, self.run, 0.1, lambda: self.time)
        self.turns.schedule(("a", "b", "c"))

    def run(self, name: str, step: Callable[[float], bool], period: float) -> None:
        assert period == (STUCK_AFTER_SECONDS if name == "gpus-watch" else 0.1)
        self.threads.append((name, step))

    def look(self, gpu: str, at: float) -> None:
        assert gpu not in self.inside, "never by two threads at once"
        assert at == 7.0
        self.inside.append(gpu)
        self.passes.append(gpu)
        self.time += self.takes.get(gpu, 0.0)
        self.meets.pop(gpu, lambda: None)()
        self.inside.remove(gpu)

    def step(self) -> list[str]:
        """One step of each thread; the GPUs passed over."""
        self.passes.clear()
        for thread in list(self.threads):
            if thread[1](7.0):
                self.threads.remove(thread)
        return list(self.passes)

    def names(self) -> list[str]:
        """Of the threads there are."""
        return sorted(name for name, _ in self.threads)


@pytest.fixture
def stage() -> Stage:
    """Three GPUs."""
    return Stage()


def test_gpus_that_answer_at_once_share_a_thread(stage: Stage) -> None:
    assert stage.step() == ["a", "b", "c"]
    assert stage.names() == ["gpus", "gpus-watch"]


def test_there_is_no_thread_before_there_is_a_gpu(stage: Stage) -> None:
    started: list[str] = []
    turns: Scheduler[str] = Scheduler(stage.look, lambda name, step, period: started.append(name), 0.1, lambda: 0.0)
    turns.schedule(())
    assert started == []
    turns.schedule(("a",))
    turns.schedule(("a", "b"))
    assert started == ["gpus", "gpus-watch"]


def test_a_slow_gpu_has_a_separate_thread_until_it_has_been_quick_for_a_while(stage: Stage) -> None:
    stage.takes["b"] = 2 * SLOW_PASS_SECONDS
    stage.step()
    assert stage.names() == ["gpu", "gpus", "gpus-watch"]
    assert stage.step() == ["a", "c", "b"], "its own thread comes last here"
    stage.time += DEDICATED_SECONDS + 1.0
    stage.step()
    assert stage.names() == ["gpu", "gpus", "gpus-watch"], "it is still slow"
    stage.takes.clear()
    stage.time += DEDICATED_SECONDS + 1.0
    assert stage.step() == ["a", "c", "b"]
    assert stage.names() == ["gpus", "gpus-watch"]
    assert stage.step() == ["a", "b", "c"]


def test_a_gpu_that_hangs_stops_no_other_and_goes_on_when_it_answers(stage: Stage) -> None:
    seen: list[list[str]] = []

    def hang() -> None:
        _, watch = next(thread for thread in stage.threads if thread[0] == "gpus-watch")
        assert not watch(7.0)
        assert stage.names() == ["gpus", "gpus-watch"], "it may yet answer"
        stage.time += 2 * STUCK_AFTER_SECONDS
        hung = next(thread for thread in stage.threads if thread[0] == "gpus")
        assert not watch(7.0)
        stage.threads.remove(hung)
        assert stage.names() == ["gpu", "gpu", "gpus", "gpus-watch"], "all of them may hang"
        seen.append(stage.step())
        stage.time += DEDICATED_SECONDS + 1.0
        seen.extend((stage.step(), stage.step()))
        assert stage.names() == ["gpus", "gpus-watch"], "they share one again"
        stage.threads.append(hung)

    stage.meets["b"] = hang
    stage.step()
    assert [set(passed) for passed in seen] == [{"a", "c"}] * 3
    assert stage.names() == ["gpu", "gpus", "gpus-watch"]
    assert sorted(stage.step()) == ["a", "b", "c"]
    stage.time += DEDICATED_SECONDS + 1.0
    stage.step()
    assert stage.step() == ["a", "b", "c"]


def test_a_gpu_that_is_gone_is_passed_over_no_more(stage: Stage) -> None:
    stage.takes["b"] = 2 * SLOW_PASS_SECONDS
    stage.step()
    stage.turns.schedule(("a",))
    assert stage.step() == ["a"]
    assert stage.names() == ["gpus", "gpus-watch"]
