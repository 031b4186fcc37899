"""Recorded requests to language models, part of the package (see data/ATTRIBUTION.md).

ServeGen has the clients of a production language model over a day, each with its own rate and burstiness, and the
requests of all clients of another one over nine days.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from foreshock_simulator.core.randomness import random_stream

TraceName = Literal["azure-code", "azure-conversation", "mooncake"]

_BATCH_SECONDS = 3.0
"""Resolution of the time stamps of the Mooncake trace."""

Family = Literal["gamma", "weibull"]
WINDOW_SECONDS = 600.0
WINDOWS = 144
_FAMILIES: dict[str, Family] = {"g": "gamma", "w": "weibull"}


class Arrival(NamedTuple):
    """A request: seconds since the start, prompt tokens, and generated tokens."""

    time: float
    prompt_tokens: int
    generated_tokens: int


class Trace(NamedTuple):
    """Recorded traffic; `period` is the length of a loop in seconds."""

    arrivals: tuple[Arrival, ...]
    period: float

    @property
    def rate(self) -> float:
        """Mean requests per second."""
        return len(self.arrivals) / self.period


@cache
def load(name: TraceName) -> Trace:
    """Read a trace. Requests of one Mooncake batch are spread over it at random, the same in each call."""
    return _mooncake() if name == "mooncake" else _azure(name.removeprefix("azure-"))


def rows(file: str) -> list[list[str]]:
    """The rows of a compressed CSV file of the package, without the header."""
    compressed = files("foreshock_simulator").joinpath("data", file).read_bytes()
    return [line.split(",") for line in gzip.decompress(compressed).decode().splitlines()[1:]]


def _azure(name: str) -> Trace:
    arrivals = tuple(
        Arrival(int(milliseconds) / 1000.0, int(prompt), int(generated))
        for milliseconds, prompt, generated in rows(f"azure_{name}_2023.csv.gz")
    )
    last = arrivals[-1].time
    return Trace(arrivals, last + last / (len(arrivals) - 1))


def _mooncake() -> Trace:
    rng, batch, arrivals = random_stream(0, "mooncake"), 0, []
    for batch_increment, prompt, generated in rows("mooncake_conversation.csv.gz"):
        batch += int(batch_increment)
        arrivals.append(Arrival((batch + rng.random()) * _BATCH_SECONDS, int(prompt), int(generated)))
    return Trace(tuple(sorted(arrivals)), (batch + 1) * _BATCH_SECONDS)


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
def client_rate() -> float:
    """Requests per second of all clients, mean over the day."""
    return sum(window.rate for day in clients() for window in day) / WINDOWS


@cache
def hourly_rates() -> tuple[float, ...]:
    """Requests per second of all clients, mean of each hour of nine consecutive days."""
    return tuple(float(rate) for _, _, rate in rows("servegen_m_small_hours.csv.gz"))
