"""The capacity of a replica is learned from a week, and is the same at night and at the peak."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.replica_capacity import ServerFigure, ServerKey, replica_capacity
from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

CHAT = Service("serving", "chat")
BASE, PER_SEQUENCE, MAX_SEQUENCES = 0.065, 0.0016, 20.0
"""Seconds per token of an empty replica, of each sequence, and the sequences that fill the KV cache."""
FULL = MAX_SEQUENCES / (BASE + PER_SEQUENCE * MAX_SEQUENCES)


def days(number: int, highest_load: float, seed: int = 0) -> Mapping[ServerKey, Floats]:
    """A server whose load is between a third of the highest and the highest, as share of a full one.

    Figures have the noise of a replica with half a request per second.
    """
    generator, points = np.random.default_rng(seed), number * DAY_POINTS
    wave = 2 / 3 - np.cos(2 * np.pi * np.arange(points) / DAY_POINTS) / 3
    tokens = np.minimum(highest_load * wave * generator.lognormal(0, 0.15, points), 0.97) * FULL
    pace = BASE / (1 - PER_SEQUENCE * tokens)
    running = generator.poisson(tokens * pace).astype(np.float64)
    sizes = generator.normal(1.0, 0.6 / np.sqrt(np.maximum(running, 1.0)), points) / MAX_SEQUENCES
    cache = np.clip(running * sizes, 0.0, 1.0)
    return {
        (CHAT, ServerFigure.TOKENS): tokens,
        (CHAT, ServerFigure.PACE): pace * generator.lognormal(0, 0.01, points),
        (CHAT, ServerFigure.RUNNING): running,
        (CHAT, ServerFigure.KV_CACHE): cache,
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("highest_load", [0.4, 0.7, 0.95])
def test_capacity_is_known_within_its_error_from_days_of_any_load(highest_load: float, number: int, seed: int) -> None:
    """Of a day or a week, without a full server."""
    found = replica_capacity(days(number, highest_load, seed), CHAT)
    assert found is not None
    assert abs(np.log(found.tokens / FULL)) < min(2.5 * found.error, 0.15)
    assert found.error < 0.13


def test_only_the_last_week_counts() -> None:
    """Before it, the model was another."""
    week = days(7, 0.7)
    slower = {key: row * (2.0 if key[1] is ServerFigure.PACE else 1.0) for key, row in days(7, 0.3, 1).items()}
    both = {key: np.concatenate([slower[key], row]) for key, row in week.items()}
    assert replica_capacity(both, CHAT) == replica_capacity(week, CHAT)


def test_nothing_is_extrapolated_where_tokens_become_faster_with_load() -> None:
    """No capacity follows from such a week."""
    week = days(7, 0.7)
    tokens = week[CHAT, ServerFigure.TOKENS]
    assert replica_capacity({**week, (CHAT, ServerFigure.PACE): BASE * (1.2 - 0.4 * tokens / FULL)}, CHAT) is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("pace_noise", [0.01, 0.05])
@pytest.mark.parametrize("load_noise", [0.0, 0.01, 0.05, 0.3])
def test_a_pace_that_rises_by_chance_is_no_limit(load_noise: float, pace_noise: float, number: int, seed: int) -> None:
    """At a steady load, or 0.0: one that follows the time of day; noise of the pace is not load."""
    week, generator = days(number, 0.7, seed), np.random.default_rng(seed)
    points = number * DAY_POINTS
    steady = 0.5 * FULL * generator.lognormal(0, load_noise, points)
    tokens = steady if load_noise else week[CHAT, ServerFigure.TOKENS]
    pace = BASE * generator.lognormal(0, pace_noise, points)
    assert (
        replica_capacity({**week, (CHAT, ServerFigure.TOKENS): tokens, (CHAT, ServerFigure.PACE): pace}, CHAT) is None
    )


def test_a_constant_load_has_no_limit() -> None:
    week = days(7, 0.7)
    constant = np.full(7 * DAY_POINTS, 0.5 * FULL)
    assert replica_capacity({**week, (CHAT, ServerFigure.TOKENS): constant}, CHAT) is None


@pytest.mark.parametrize("figure", ServerFigure)
def test_nothing_is_guessed_without_a_figure(figure: ServerFigure) -> None:
    """Nor from hours alone, nor for a server without load."""
    week = days(7, 0.7)
    assert replica_capacity({key: row for key, row in week.items() if key[1] is not figure}, CHAT) is None
    assert replica_capacity({key: row[:60] for key, row in week.items()}, CHAT) is None
    assert replica_capacity({key: 0 * row for key, row in week.items()}, CHAT) is None
