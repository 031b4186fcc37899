"""Figures of the performance table: ratios, goals, and the table itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from bench.support import figures
from bench.support.figures import Figure, report
from bench.support.machine import Factors
from bench.support.table import Row, markdown, with_rows

LATENCY = Figure(name="p95", value=120.0, unit="ms", goal=100.0)
RATE = Figure(name="Spans", value=20_000.0, unit="/CPU s", goal=60_000.0, more_is_better=True)
PEER = Figure(name="CPU", value=1.5, unit="% of a core", peer="nvitop-exporter", peer_value=1.2, min_ratio=1.0)


@pytest.mark.parametrize(
    ("figure", "to_goal", "held"),
    [
        (LATENCY, 100 / 120, False),
        (replace(LATENCY, value=math.nan), math.nan, False),
        (replace(LATENCY, factor=1.5), 1.25, True),
        (replace(LATENCY, unit="MiB", factor=1.5), 100 / 120, False),
        (RATE, 1 / 3, False),
        (replace(RATE, factor=4.0), 4 / 3, True),
        (replace(LATENCY, goal=math.nan), math.nan, True),
        (replace(LATENCY, value=0.0), math.inf, True),
        (replace(LATENCY, goal=0.0), 0.0, False),
        (PEER, math.nan, False),
        (replace(PEER, value=1.0), math.nan, True),
        (replace(PEER, min_ratio=math.nan), math.nan, True),
    ],
)
def test_a_figure_is_held_if_no_ratio_is_below_its_goal(figure: Figure, to_goal: float, held: bool) -> None:
    """Times count after the factor of the machine, memory as it is; a peer's value needs no factor."""
    assert figure.to_goal == pytest.approx(to_goal, nan_ok=True)
    assert figure.held == held
    assert math.isnan(figure.to_peer) == math.isnan(figure.peer_value)


def test_a_benchmark_reports_its_figures_and_fails_with_one_that_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, and added to the file that `make bench` reads."""
    monkeypatch.setattr(figures, "factors", lambda: Factors(1.0, 2.0))
    monkeypatch.setenv(figures.FILE_VARIABLE, str(tmp_path / "figures"))
    assert report([LATENCY, replace(LATENCY, name="p99", value=99.0)]) == 1
    assert report([replace(LATENCY, value=99.0)]) == 0
    assert report([replace(LATENCY, value=199.0, is_latency=True)]) == 0
    printed = capsys.readouterr().out
    assert "MISSED: p95 120 ms (goal 100, 0.83 times as good)" in printed
    assert "held: p99 99 ms" in printed
    assert len((tmp_path / "figures").read_text().splitlines()) == 4


def test_the_table_has_a_line_for_each_figure_under_its_benchmark() -> None:
    """With what it misses in bold."""
    text = markdown([Row("Pages", LATENCY, small=12.0, size_ratio=10), Row("Pages", PEER), Row("Spans", RATE)])
    assert text.splitlines()[2:] == [
        "| **Pages** | | | | | | |",
        "| p95 | 120 ms | ≤ 100 | **0.83, missed** |  |  | 12 → 120 for 10x the size |",
        "| CPU | 1.5% of a core |  |  | nvitop-exporter: 1.2 | **0.80, missed** |  |",
        "| **Spans** | | | | | | |",
        "| Spans | 20,000 /CPU s | ≥ 60,000 | **0.33, missed** |  |  |  |",
    ]


def test_the_lines_of_one_benchmark_are_replaced_with_a_remark() -> None:
    """Twice, so that the remark is that of the last run; what else is in the document stays."""
    whole = f"\nOne machine. Size full, 25 min.\n\n{markdown([Row('Pages', LATENCY), Row('Spans', RATE)])}"
    later = [Row("Pages", replace(LATENCY, value=80.0)), Row("Pages", PEER)]
    once = with_rows(whole, later, "another machine, 1 min")
    assert with_rows(once, later, "a third machine, 2 min") == (
        "\nOne machine. Size full, 25 min.\nMeasured later: Pages, a third machine, 2 min.\n\n"
        + markdown([*later, Row("Spans", RATE)])
    )
    with pytest.raises(ValueError, match="no benchmark 'Start'"):
        with_rows(whole, [Row("Start", LATENCY)], "")
