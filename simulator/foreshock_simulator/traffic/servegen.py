"""The clients of a production language model over a day, from ServeGen, each with its own rate and burstiness."""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from foreshock_simulator.traffic.traces import rows

Family = Literal["gamma", "weibull"]
WINDOW_SECONDS = 600.0
WINDOWS = 144
_FAMILIES: dict[str, Family] = {"g": "gamma", "w": "weibull"}


class Window(NamedTuple):
    """Ten minutes of a client: requests per second, and coefficient of variation and family of the gaps."""

    rate: float
    cv: float
    family: Family


IDLE_WINDOW = Window(0.0, 1.0, "gamma")


@cache
def clients() -> tuple[tuple[Window, ...], ...]:
    """The windows of a day of each client, busiest first."""
    days: dict[int, list[Window]] = {}
    for client, window, rate, cv, family in rows("servegen_m_large_day.csv.gz"):
        day = days.setdefault(int(client), [IDLE_WINDOW] * WINDOWS)
        day[int(window)] = Window(float(rate), float(cv), _FAMILIES[family])
    return tuple(tuple(day) for day in days.values())


@cache
def mean_rate() -> float:
    """Requests per second of all clients, mean over the day."""
    return sum(window.rate for day in clients() for window in day) / WINDOWS
