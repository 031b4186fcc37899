"""Arrivals are the Azure traces: their number, their lengths, their burstiness."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from statistics import fmean, median, pvariance

import pytest

from foreshock_simulator.traffic import TraceName, divide, load, replay


def dispersion(times: Iterable[float], width: float, until: float) -> float:
    """Index of dispersion of counts: variance over mean of the arrivals in windows of `width` seconds."""
    counts = Counter(int(time // width) for time in times)
    windows = [counts.get(window, 0) for window in range(int(until // width))]
    return pvariance(windows) / fmean(windows)


@pytest.mark.parametrize(
    ("name", "requests", "rate", "prompt", "generated", "idc"),
    [("code", 8819, 2.57, 1469, 13, 71.3), ("conversation", 19366, 5.53, 1020, 129, 4.0)],
)
def test_the_shipped_traces_are_whole(
    name: TraceName, requests: int, rate: float, prompt: int, generated: int, idc: float
) -> None:
    """Requests, rate, median tokens and the index of dispersion over 10 s are those published of the originals."""
    trace = load(name)
    assert len(trace.arrivals) == requests
    assert requests / trace.period == pytest.approx(rate, rel=0.01)
    assert median(a.prompt_tokens for a in trace.arrivals) == pytest.approx(prompt, abs=1)
    assert median(a.generated_tokens for a in trace.arrivals) == pytest.approx(generated, abs=1)
    assert dispersion((a.time for a in trace.arrivals), 10.0, trace.period) == pytest.approx(idc, rel=0.05)


@pytest.mark.parametrize("phase", [0.0, 1234.5, 3400.0, 99_999.0])
def test_a_replay_loops_from_any_point_without_a_gap(phase: float) -> None:
    """Two loops from anywhere hold each request twice, in order, none before the start."""
    trace = load("conversation")
    until = 2 * trace.period
    times = [a.time for a in itertools.takewhile(lambda a: a.time < until, replay(trace, phase))]
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert len(times) == pytest.approx(2 * len(trace.arrivals), abs=2)


@pytest.mark.parametrize(("name", "share"), [("code", 0.6), ("conversation", 0.5), ("conversation", 0.2)])
def test_a_thinned_flow_keeps_its_share_and_its_burstiness(name: TraceName, share: float) -> None:
    """Of the requests the share is kept, and the index of dispersion I becomes 1 + p·(I − 1)."""
    trace = load(name)
    whole = [a.time for a in trace.arrivals]
    kept = [a.time for _, a in divide(iter(trace.arrivals), [share], random.Random(5))]
    assert len(kept) / len(whole) == pytest.approx(share, rel=0.05)
    # the variance of 350 windows is known to about 8 % (one sigma)
    expected = 1.0 + share * (dispersion(whole, 10.0, trace.period) - 1.0)
    assert dispersion(kept, 10.0, trace.period) == pytest.approx(expected, rel=0.25)


def test_flows_divide_a_trace_without_doubling_a_request() -> None:
    """No request goes to two flows, and the order stays."""
    trace = load("conversation")
    divided = [arrival for _, arrival in divide(iter(trace.arrivals), [0.5, 0.5], random.Random(1))]
    assert divided == list(trace.arrivals)
    with pytest.raises(ValueError, match="more than 1"):
        next(divide(iter(trace.arrivals), [0.7, 0.5], random.Random(1)))


def test_the_data_comes_with_its_licence_and_its_authors() -> None:
    """Whoever gets the traces gets the licence and the paper to cite."""
    folder = files("foreshock_simulator") / "data"
    assert "Attribution 4.0 International" in (folder / "LICENSE-CC-BY-4.0.txt").read_text()
    attribution = (folder / "ATTRIBUTION.md").read_text()
    assert "Splitwise" in attribution
    assert "Changes:" in attribution
