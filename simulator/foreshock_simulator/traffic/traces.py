"""Recorded requests to language models, part of the package (see data/ATTRIBUTION.md)."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from foreshock_simulator.core.randomness import random_stream

TraceName = Literal["azure-code", "azure-conversation", "mooncake"]

_BATCH_SECONDS = 3.0
"""Resolution of the time stamps of the Mooncake trace."""


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
