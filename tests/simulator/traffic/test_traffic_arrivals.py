"""Requests of a flow match the measured numbers, burstiness and lengths, and follow the changes of faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median, pstdev, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import soak

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import Arrivals as ArrivalsName
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.traffic import traces
from foreshock_simulator.traffic.arrivals import arrivals
from foreshock_simulator.traffic.rate import DAY_SECONDS, Curve, RelativeRate
from foreshock_simulator.traffic.sources import Client, first_gap, gap, weibull_shape
from foreshock_simulator.traffic.traces import Arrival, Family, TraceName, Window, load

START = 1_800_000_000.0
FLOW = FlowSpec("users", "gateway", "POST /v1/chat", rate=5.0)
EVERY: tuple[ArrivalsName, ...] = ("azure-conversation", "azure-code", "mooncake", "servegen", "poisson", "gamma")


def play(
    flow: FlowSpec, until: float, seed: int = 1, changes: tuple[tuple[float, float, float], ...] = ()
) -> list[Arrival]:
    """The requests of the first `until` seconds, with changes (at, to, ramp) of the rate."""
    source, found = arrivals(flow, seed, START), []
    for change in changes:
        source.rate_factor.change(*change)
    while (arrival := source.next()).time < until:
        found.append(arrival)
    return found


def dispersion(times: list[float], width: float, until: float) -> float:
    """Index of dispersion over whole windows."""
    found = Counter(int(time // width) for time in times)
    windows = [found[window] for window in range(int(until // width))]
    return pvariance(windows) / fmean(windows)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["azure-code", "azure-conversation", "mooncake"])
def test_at_its_own_rate_a_flow_replays_the_trace_from_a_random_point(name: TraceName, seed: int) -> None:
    """Request for request over a loop, to the microsecond, so all measured values of the trace apply to the flow."""
    trace = load(name)
    flow = replace(FLOW, arrivals=name, tokens=name, rate=trace.rate)
    found = play(flow, trace.period * (1 - 1e-9), seed)
    recorded = [(a.prompt_tokens, a.generated_tokens) for a in trace.arrivals]
    tokens = [(a.prompt_tokens, a.generated_tokens) for a in found]
    assert len(found) == len(recorded)
    (turn,) = (
        i for i in range(len(recorded)) if recorded[i : i + 9] == tokens[:9] and recorded[i:] + recorded[:i] == tokens
    )
    times = [a.time for a in trace.arrivals]
    turned = [time - times[turn] for time in times[turn:]] + [
        time - times[turn] + trace.period for time in times[:turn]
    ]
    assert [a.time - found[0].time for a in found] == pytest.approx(turned, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "share"),
    [("azure-code", 0.5), *soak(("azure-conversation", 0.3), ("azure-code", 1.6), ("mooncake", 1.5))],
)
def test_thinned_and_multiplied_flows_have_the_theoretical_burstiness(name: TraceName, share: float) -> None:
    """With I the trace's index: 1 + p · (I − 1), with p the kept share of each of the independent copies."""
    trace = load(name)
    until = 2.0 * trace.period
    flow = replace(FLOW, arrivals=name, tokens=name, rate=share * trace.rate)
    plays = [[arrival.time for arrival in play(flow, until, seed)] for seed in range(16)]
    kept = share / -(-share // 1)
    for width in (1.0, 10.0, 60.0):
        # where windows begin in the trace matters for long ones
        turned = ([(a.time + width * i / 12) % trace.period for a in trace.arrivals] for i in range(12))
        whole = fmean(dispersion(times, width, trace.period) for times in turned)
        found = fmean(dispersion(times, width, until) for times in plays)
        assert found == pytest.approx(1.0 + kept * (whole - 1.0), rel=0.10), f"over {width} s"


@pytest.mark.parametrize("name", EVERY)
def test_a_flow_has_its_rate(name: ArrivalsName) -> None:
    """Mean over some seeds, and over the day for diurnal ones."""
    flow = replace(FLOW, arrivals=name, rate=0.7, cv=3.0)
    until = DAY_SECONDS if name == "servegen" else 21_000.0
    counts = [len(play(flow, until, seed)) for seed in range(3)]
    assert fmean(counts) == pytest.approx(0.7 * until, rel=0.05)


@pytest.mark.parametrize(
    ("tokens", "prompt", "generated"),
    [
        ("azure-code", (1469, 7436), (13, 251)),
        ("azure-conversation", (1020, 4142), (129, 601)),
        ("mooncake", (6909, 85400), (350, 1118)),
    ],
)
def test_token_counts_match_the_trace_for_any_arrivals(
    tokens: TraceName, prompt: tuple[int, int], generated: tuple[int, int]
) -> None:
    """The measured p50 and p99, within 10%."""
    found = play(replace(FLOW, arrivals="poisson", tokens=tokens), 6000.0)
    for values, expected in (
        (sorted(a.prompt_tokens for a in found), prompt),
        (sorted(a.generated_tokens for a in found), generated),
    ):
        assert (values[len(values) // 2], values[int(len(values) * 0.99)]) == pytest.approx(expected, rel=0.10)


@pytest.mark.parametrize("name", EVERY)
def test_a_surge_plays_the_same_requests_faster(name: ArrivalsName) -> None:
    """Nothing changes before the surge; from there on each gap is a third, so the surge is as bursty as the traffic."""
    flow = replace(FLOW, arrivals=name, cv=3.0, diurnal=0.0)
    calm, surge = play(flow, 900.0), play(flow, 500.0, changes=((300.0, 3.0, 0.0),))
    if name == "servegen":
        # its windows stay those of the day, so only the first ten minutes, from 08:00, compare
        assert START % traces.WINDOW_SECONDS == 0.0
        calm, surge = [a for a in calm if a.time < 600.0], [a for a in surge if a.time < 400.0]
    mapped = [a.time if a.time < 300.0 else 300.0 + (a.time - 300.0) / 3.0 for a in calm]
    assert len(surge) == len(calm)
    assert [a.time for a in surge] == pytest.approx(mapped, abs=1e-6)
    if name != "servegen":
        assert [a[1:] for a in surge] == [a[1:] for a in calm]


@given(st.sampled_from(EVERY), st.integers(0, 60), st.integers(1, 5))
def test_a_late_change_equals_an_early_one(name: ArrivalsName, after: int, seed: int) -> None:
    """As long as it is made before the last request before its time."""
    flow = replace(FLOW, arrivals=name, cv=2.0, diurnal=0.5)
    early, late = arrivals(flow, seed, START), arrivals(flow, seed, START)
    first = [late.next() for _ in range(after)]
    at = (first[-1].time if first else 0.0) + 0.5
    early.rate_factor.change(at, 4.0, 30.0)
    late.rate_factor.change(at, 4.0, 30.0)
    assert [early.next() for _ in range(after + 50)] == first + [late.next() for _ in range(50)]


def test_a_flow_that_is_switched_off_comes_back() -> None:
    """No requests meanwhile, and no backlog afterwards."""
    source = arrivals(replace(FLOW, arrivals="poisson"), 1, START)
    source.rate_factor.change(100.0, 0.0)
    source.rate_factor.change(500.0, 1.0)
    times = [source.next().time for _ in range(2000)]
    assert not [time for time in times if 100.0 <= time < 500.0]
    assert sum(500.0 <= time < 600.0 for time in times) == pytest.approx(500, rel=0.15)
    source.rate_factor.change(1000.0, 0.0)
    assert [arrival for _ in range(9000) if (arrival := source.next()).time < float("inf")][-1].time < 1000.0


def test_longer_prompts_are_longer_from_their_time_on_and_nothing_else_changes() -> None:
    """Answers have a factor of their own; times stay."""
    plain, longer = arrivals(FLOW, 1, START), arrivals(FLOW, 1, START)
    longer.prompt_factor.change(50.0, 4.0, 100.0)
    longer.answer_factor.change(50.0, 0.5)
    for _ in range(2000):
        before, after = plain.next(), longer.next()
        assert after.time == before.time
        factor = 1.0 + 3.0 * min(max((before.time - 50.0) / 100.0, 0.0), 1.0)
        assert after.prompt_tokens == max(round(before.prompt_tokens * factor), 1)
        assert after.generated_tokens == (
            before.generated_tokens if before.time < 50.0 else max(round(before.generated_tokens * 0.5), 1)
        )


def test_rates_follow_day_and_weekend() -> None:
    """The peak hour has 1 + d of the mean, the lowest 1 − d; Saturday has its share."""
    flow = replace(FLOW, arrivals="poisson", rate=0.5, diurnal=0.6, peak_hour=14.0, weekend=0.5)
    start_hour = START % DAY_SECONDS / 3600.0
    times = [a.time for a in play(flow, 7 * DAY_SECONDS)]
    by_hour = Counter(int(time / 3600.0 + start_hour) for time in times)
    # START is a Friday
    weekdays = (0, 3, 4, 5, 6)
    peak = [by_hour[24 * day + hour] for day in weekdays for hour in (13, 14)]
    low = [by_hour[24 * day + hour] for day in weekdays[1:] for hour in (1, 2)]
    saturday = [by_hour[24 + hour] for hour in (13, 14)]
    assert fmean(peak) == pytest.approx(1800 * 1.6, rel=0.03)
    assert fmean(low) == pytest.approx(1800 * 0.4, rel=0.06)
    assert fmean(saturday) == pytest.approx(1800 * 1.6 * 0.5, rel=0.06)


@pytest.mark.parametrize("cv", [0.3, *soak(1.0, 2.0), 4.0])
@pytest.mark.parametrize("family", ["gamma", "weibull"])
def test_gaps_have_mean_one_their_cv_and_a_stationary_start(family: Family, cv: float) -> None:
    """The first is the rest of a gap: its mean is (1 + CV²) / 2 of the mean gap."""
    rng = random_stream(1, f"{family}/{cv}")
    gaps = [gap(rng, family, cv) for _ in range(300_000)]
    assert fmean(gaps) == pytest.approx(1.0, rel=0.03)
    assert pstdev(gaps) == pytest.approx(cv, rel=0.06)
    firsts = [first_gap(rng, family, cv) for _ in range(300_000)]
    assert fmean(firsts) == pytest.approx((1.0 + cv * cv) / 2.0, rel=0.06)


def test_a_weibull_of_cv_one_is_exponential() -> None:
    """A CV out of range is rejected."""
    assert weibull_shape(1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="coefficient of variation"):
        weibull_shape(0.0)


@pytest.mark.parametrize(("cv", "family"), [(0.8, "gamma"), *soak((2.0, "gamma"), (3.0, "weibull"))])
def test_a_client_has_the_rate_of_each_window_and_the_cv_between_requests(cv: float, family: Family) -> None:
    """Idle in some windows, busy in others, three times as busy in a surge of the flow."""
    day = tuple(Window((0.0, 2.0, 6.0)[index % 3], cv, family) for index in range(traces.WINDOWS))
    client = Client(day, 0.5, 0.0, random_stream(4, f"client/{cv}"), lambda: (1, 1))
    level, at, times = RelativeRate(Curve(), 0.0), 0.0, []
    while at < 3 * DAY_SECONDS:
        at = client.arrival_time(at, client.draw(at).amount, level)
        times.append(at)
    by_kind = Counter(int(time // 600.0) % 3 for time in times)
    windows = 3 * traces.WINDOWS / 3
    assert by_kind[0] == 0
    assert by_kind[1] / windows == pytest.approx(600.0, rel=0.05)
    assert by_kind[2] / windows == pytest.approx(1800.0, rel=0.05)
    gaps = [b - a for a, b in pairwise(times) if a // 600.0 == b // 600.0 and int(a // 600.0) % 3 == 2]
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.07)


def test_servegen_traffic_follows_the_day_of_its_clients() -> None:
    """By windows of ten minutes, scaled to the flow's rate; peak over median within the measured range."""
    flow = replace(FLOW, arrivals="servegen", rate=2.0)
    counts = Counter(
        int((START + a.time) % DAY_SECONDS // 600.0) for seed in range(2) for a in play(flow, DAY_SECONDS, seed)
    )
    expected = [sum(day[window].rate for day in traces.clients()) / traces.client_rate() for window in range(144)]
    found = [counts[window] / (2 * 600.0 * 2.0) for window in range(144)]
    assert fmean(found) == pytest.approx(1.0, rel=0.05)
    assert median(abs(one - other) for one, other in zip(found, expected, strict=True)) < 0.1
    assert 1.4 <= max(found) / median(found) <= 3.3


@pytest.mark.parametrize("name", EVERY)
def test_the_same_seed_gives_the_same_requests_and_another_others(name: ArrivalsName) -> None:
    """Flows with other names are independent."""
    flow = replace(FLOW, arrivals=name, cv=2.0, diurnal=0.3)
    assert play(flow, 300.0, 7) == play(flow, 300.0, 7)
    assert play(flow, 300.0, 7) != play(flow, 300.0, 8)
    assert play(flow, 300.0, 7) != play(replace(flow, name="others"), 300.0, 7)


def test_a_flow_of_no_rate_sends_nothing() -> None:
    """This is no error: a platform may have faults only."""
    assert arrivals(replace(FLOW, rate=0.0), 1, START).next().time == float("inf")


@pytest.mark.parametrize(
    ("field", "value"), [("rate", -1.0), ("cv", 0.0), ("diurnal", 1.5), ("peak_hour", 25.0), ("weekend", -0.1)]
)
def test_an_invalid_flow_is_rejected_by_name(field: str, value: float) -> None:
    """With the value and the range."""
    with pytest.raises(ValueError, match=f"flow 'users': {field} is {value}; give a figure from"):
        arrivals(replace(FLOW, **{field: value}), 1, START)  # type: ignore[arg-type]
