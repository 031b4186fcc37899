"""Recorded requests to language models, as they come with the package (see data/ATTRIBUTION.md)."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from foreshock_simulator.core.randomness import random_stream

TraceName = Literal["azure-code", "azure-conversation", "mooncake"]

_BATCH_SECONDS = 3.0
"""Of the Mooncake trace: its time stamps tell requests of one batch not apart."""


class Arrival(NamedTuple):
    """A request: when (seconds since the start), and how many tokens go in and come out."""

    time: float
    prompt_tokens: int
    generated_tokens: int


class Trace(NamedTuple):
    """A recorded stretch of traffic; `period` is the length of a loop, in seconds."""

    arrivals: tuple[Arrival, ...]
    period: float

    @property
    def rate(self) -> float:
        """Requests a second, in the mean."""
        return len(self.arrivals) / self.period


@cache
def load(name: TraceName) -> Trace:
    """Read a trace. Requests of one Mooncake batch are spread over it at random, the same on each call."""
    return _mooncake() if name == "mooncake" else _azure(name.removeprefix("azure-"))


def rows(file: str) -> list[list[str]]:
    """The rows of a compressed CSV file of the package, without the heading."""
    packed = files("foreshock_simulator").joinpath("data", file).read_bytes()
    return [line.split(",") for line in gzip.decompress(packed).decode().splitlines()[1:]]


def _azure(name: str) -> Trace:
    arrivals = tuple(
        Arrival(int(milliseconds) / 1000.0, int(prompt), int(generated))
        for milliseconds, prompt, generated in rows(f"azure_{name}_2023.csv.gz")
    )
    last = arrivals[-1].time
    return Trace(arrivals, last + last / (len(arrivals) - 1))


def _mooncake() -> Trace:
    rng, batch, found = random_stream(0, "mooncake"), 0, []
    for later, prompt, generated in rows("mooncake_conversation.csv.gz"):
        batch += int(later)
        found.append(Arrival((batch + rng.random()) * _BATCH_SECONDS, int(prompt), int(generated)))
    return Trace(tuple(sorted(found)), (batch + 1) * _BATCH_SECONDS)
