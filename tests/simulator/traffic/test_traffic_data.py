"""The data of the package match the measurements, are small, and have their licenses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from statistics import fmean, median, pvariance

import pytest

from foreshock_simulator.traffic import traces
from foreshock_simulator.traffic.traces import TraceName, load

DATA = files("foreshock_simulator") / "data"


def counts(times: Sequence[float], width: float) -> list[int]:
    """Arrivals in windows of `width` seconds, the partial last one included, as in the published figures."""
    found = Counter(int(time // width) for time in times)
    return [found[window] for window in range(int(max(times) // width) + 1)]


def dispersion(times: Sequence[float], width: float) -> float:
    """Index of dispersion of counts: variance over mean."""
    return pvariance(counts(times, width)) / fmean(counts(times, width))


def quantile(values: Sequence[float], q: float) -> float:
    """Quantile by rank."""
    return sorted(values)[round(q * (len(values) - 1))]


MEASURED: list[tuple[TraceName, int, float, dict[int, float], float, tuple[int, int], tuple[int, int]]] = [
    ("azure-code", 8819, 2.57, {1: 13.2, 10: 71.3, 60: 160.5, 300: 150.0}, 12.8, (1469, 7436), (13, 251)),
    ("azure-conversation", 19366, 5.53, {1: 1.4, 10: 4.0, 60: 20.6, 300: 94.2}, 1.78, (1020, 4142), (129, 601)),
    ("mooncake", 12031, 3.40, {60: 2.8, 300: 8.0}, 1.65, (6909, 85400), (350, 1118)),
]
"""Requests, rate, index of dispersion by window (s), peak over mean (10 s), p50 and p99 of prompts and of answers."""


@pytest.mark.parametrize(("name", "requests", "rate", "idc", "peak", "prompt", "generated"), MEASURED)
def test_a_trace_has_the_measured_figures(
    name: TraceName, requests: int, rate: float, idc: dict[int, float], peak: float,
    prompt: tuple[int, int], generated: tuple[int, int],
) -> None:  # fmt: skip
    """Number, rate, burstiness on every scale, and lengths."""
    trace = load(name)
    times = [arrival.time for arrival in trace.arrivals]
    assert len(times) == requests
    assert times == sorted(times)
    assert trace.rate == pytest.approx(rate, rel=0.01)
    for width, expected in idc.items():
        assert dispersion(times, width) == pytest.approx(expected, rel=0.03), f"over {width} s"
    assert max(counts(times, 10)) / fmean(counts(times, 10)) == pytest.approx(peak, rel=0.03)
    for lengths, expected_quantiles in (
        ([a.prompt_tokens for a in trace.arrivals], prompt),
        ([a.generated_tokens for a in trace.arrivals], generated),
    ):
        assert [quantile(lengths, q) for q in (0.5, 0.99)] == pytest.approx(expected_quantiles, rel=0.01)


def test_mooncakes_figure_at_ten_seconds_is_that_of_its_time_stamps() -> None:
    """Time stamps are multiples of three seconds, and ten is not. Rounded to them, requests have the measured 2.1."""
    times = [arrival.time for arrival in load("mooncake").arrivals]
    assert dispersion([time // 3 * 3 for time in times], 10) == pytest.approx(2.1, rel=0.05)
    assert dispersion(times, 10) == pytest.approx(1.4, rel=0.05)


def test_servegens_clients_are_as_bursty_as_measured() -> None:
    """The CVs of clients' windows: p50 1.0 to 1.4, p90 4.0 to 5.5, p99 9.7 to 31; four in five are Gamma."""
    active = [window for day in traces.clients() for window in day if window.rate > 0.0]
    cvs = [window.cv for window in active]
    assert 1.0 <= quantile(cvs, 0.5) <= 1.4
    assert 4.0 <= quantile(cvs, 0.9) <= 5.5
    assert 9.7 <= quantile(cvs, 0.99) <= 31.0
    assert sum(window.family == "gamma" for window in active) / len(active) == pytest.approx(0.8, abs=0.05)
    totals = [sum(day[window].rate for day in traces.clients()) for window in range(traces.WINDOWS)]
    assert 1.4 <= max(totals) / median(totals) <= 3.3
    assert fmean(totals) == pytest.approx(traces.client_rate())


@pytest.mark.parametrize(
    "table", ["mooncake_conversation.csv.gz", "servegen_m_large_day.csv.gz", "servegen_m_small_hours.csv.gz"]
)
def test_derived_tables_are_small(table: str) -> None:
    """They are part of every installation."""
    assert len((DATA / table).read_bytes()) < 60_000


def test_the_data_has_its_licenses_and_authors() -> None:
    """Each table has its license, the paper to cite, and the changes."""
    assert "Attribution 4.0 International" in (DATA / "LICENSE-CC-BY-4.0.txt").read_text()
    assert "Apache License" in (DATA / "LICENSE-Apache-2.0.txt").read_text()
    sections = (DATA / "ATTRIBUTION.md").read_text().split("\n## ")[1:]
    tables = {file.name for file in DATA.iterdir() if file.name.endswith(".gz")}
    assert tables == {table for table in tables if sum(table in section for section in sections) == 1}
    for section, paper, licence in zip(
        sections, ("Splitwise", "FAST 25", "arXiv:2505.09999"), ("CC-BY-4.0", "Apache-2.0", "Apache-2.0"), strict=True
    ):
        assert paper in section
        assert f"LICENSE-{licence}.txt" in section
        assert "Changes:" in section
