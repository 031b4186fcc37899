"""Processes run in order of time and wait for signals; the first of racing results wins."""

from __future__ import annotations

import pytest

from foreshock_simulator.core.engine import Engine, Process, Signal


def test_processes_sleep_and_wake_in_order_of_time() -> None:
    """The shorter of two sleepers wakes first, and the clock shows its time."""
    engine = Engine()
    log: list[tuple[str, float]] = []

    def sleeper(name: str, seconds: float) -> Process:
        yield seconds
        log.append((name, engine.now))

    engine.spawn(sleeper("long", 3.0))
    engine.spawn(sleeper("short", 1.0))
    engine.run(10.0)
    assert log == [("short", 1.0), ("long", 3.0)]
    assert engine.now == 10.0


def test_actions_beyond_the_end_of_a_run_wait_for_the_next() -> None:
    """An action later than `until` is not lost."""
    engine = Engine()
    log: list[str] = []
    engine.schedule(2.0, log.append, "later")
    engine.run(1.0)
    assert log == []
    engine.run(2.0)
    assert log == ["later"]


def test_a_failed_run_does_not_affect_the_next() -> None:
    """Later runs reach their own ends."""
    engine = Engine()

    def fail(_: object) -> None:
        raise ValueError("a defect of the model")

    engine.schedule(1.0, fail)
    with pytest.raises(ValueError, match="a defect of the model"):
        engine.run(10.0)
    engine.run(12.0)
    assert engine.now == 12.0
    engine.run(13.0)
    assert engine.now == 13.0


def test_a_signal_carries_its_first_value_and_ignores_the_second() -> None:
    """In a race of a reply and a timeout, the first one counts."""
    engine, got = Engine(), []
    signal = Signal(engine)

    def waiter() -> Process:
        got.append((yield signal))

    engine.spawn(waiter())
    engine.schedule(1.0, signal.fire, "reply")
    engine.schedule(2.0, signal.fire, "timeout")
    engine.run(3.0)
    assert got == ["reply"]


def test_a_process_that_attaches_to_a_fired_signal_resumes_at_once() -> None:
    """A fired signal keeps its value."""
    engine, got = Engine(), []
    signal = Signal(engine)
    signal.fire(7)

    def waiter() -> Process:
        yield 5.0
        got.append(((yield signal), engine.now))

    engine.spawn(waiter())
    engine.run(5.0)
    assert got == [(7, 5.0)]


def test_a_second_waiter_is_rejected() -> None:
    """It would never resume."""
    engine = Engine()
    signal = Signal(engine)

    def waiter() -> Process:
        yield signal

    engine.spawn(waiter())
    engine.spawn(waiter())
    with pytest.raises(RuntimeError, match="one waiter"):
        engine.run(1.0)
