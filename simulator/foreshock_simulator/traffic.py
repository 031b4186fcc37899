"""Arrivals: the Azure LLM inference traces of 2023, replayed in a loop from any point, thinned.

Thinning keeps each request with probability p, independently; it turns an index of dispersion I into 1 + p·(I − 1), so
the traffic stays as bursty as its share of the original is.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

TraceName = Literal["code", "conversation"]


class Arrival(NamedTuple):
    """A request: when (seconds), and how many tokens go in and come out."""

    time: float
    prompt_tokens: int
    generated_tokens: int


class Trace(NamedTuple):
    """A recorded stretch of traffic; `period` is the length of a loop, in seconds."""

    arrivals: tuple[Arrival, ...]
    period: float


@cache
def load(name: TraceName) -> Trace:
    """Read a trace that comes with the package. Its first request is at 0."""
    packed = files("foreshock_simulator").joinpath("data", f"azure_{name}_2023.csv.gz").read_bytes()
    rows = (line.split(",") for line in gzip.decompress(packed).decode().splitlines()[1:])
    arrivals = tuple(Arrival(int(row[0]) / 1000.0, int(row[1]), int(row[2])) for row in rows)
    last = arrivals[-1].time
    return Trace(arrivals, last + last / (len(arrivals) - 1))


def replay(trace: Trace, phase: float) -> Iterator[Arrival]:
    """The trace from `phase` seconds on, for ever; the time of the first is at or after 0."""
    phase %= trace.period
    loops = 0
    while True:
        shift = loops * trace.period - phase
        for time, prompt, generated in trace.arrivals:
            if time + shift >= 0.0:
                yield Arrival(time + shift, prompt, generated)
        loops += 1


def divide(arrivals: Iterator[Arrival], shares: Sequence[float], rng: random.Random) -> Iterator[tuple[int, Arrival]]:
    """Give each arrival to at most one of several flows, flow i with probability `shares[i]`; the rest is left out.

    Raises:
        ValueError: the shares sum to more than 1.
    """
    if sum(shares) > 1.0 + 1e-9:
        raise ValueError(f"shares {tuple(shares)} sum to more than 1")
    for arrival in arrivals:
        drawn = rng.random()
        for flow, share in enumerate(shares):
            drawn -= share
            if drawn < 0.0:
                yield flow, arrival
                break
