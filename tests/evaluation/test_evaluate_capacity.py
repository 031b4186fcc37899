"""The capacity forecast is scored on traces of real weeks, here of simulated ones in the same form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.analysis.capacity.weeks import weeks

from foreshock_evaluation.capacity.announcements import HOURS, ORIGINS_HOURS, announcements, band_scores, judged
from foreshock_evaluation.capacity.servegen import RealService
from foreshock_evaluation.capacity_command import main


def test_tables_compare_the_forecast_with_naive_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On one split of the clients, and into a document."""
    folder = tmp_path / "language" / "m"
    folder.mkdir(parents=True)
    for client in range(6):
        rates = weeks(2, seed=client, growth_per_week=1.2, noise=0.1)
        lines = [f"{600 * row},{rate:.4f},1,,1,1" for row, rate in enumerate(rates.tolist())]
        (folder / f"chunk-{client}-trace.csv").write_text("\n".join(lines))
    page = tmp_path / "evaluation.md"
    page.write_text("<!-- evaluate capacity -->\n<!-- end of evaluate capacity -->\n")
    assert main(["--servegen", str(tmp_path), "--clients", "2", "--write-docs", str(page)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    loss = {(row[0], row[2]): float(row[3]) for row in rows if row[1:2] == ["h"] and row[2] == "foreshock"}
    naive = {row[0]: float(row[4]) for row in rows if row[2:4] == ["naive", "day"]}
    assert all(loss[hours, "foreshock"] < naive[hours] for hours in ("1", "6", "24"))
    assert "| 24 h | foreshock |" in page.read_text()


def test_a_folder_without_traces_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the remedy, as wrong usage."""
    assert main(["--servegen", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("burst", "announced_from", "false", "still_open"),
    [
        pytest.param(110, 156, 1, 0, id="a false announcement that ends"),
        pytest.param(200, 204, 1, 1, id="one that lasts to the end of the data"),
        pytest.param(250, 228, 0, 0, id="a true one"),
    ],
)
def test_announcements_are_judged_to_the_end_of_the_data(
    burst: int, announced_from: int, false: int, still_open: int
) -> None:
    """And each announced day by itself, except one with a gap."""
    hours, excess = np.array(ORIGINS_HOURS), np.zeros(HOURS)
    excess[burst], excess[300] = 1, np.nan
    at = np.where((hours >= announced_from) & (hours <= max(burst + 168, 0)), hours + 22.0, np.nan)
    found = judged("foreshock", 1.0, True, excess, at)
    assert (found.false, found.open) == (false, still_open)
    assert found.unjudged_days == (burst > 132)
    assert found.idle_days == found.days - (burst == 250)
    assert (found.shortages, found.announced, found.timed) == ((1, 1, 1) if burst == 250 else (burst == 200, 0, 0))


def test_the_band_of_the_first_excess_is_scored_where_the_data_show_it() -> None:
    """Before, in, and after it; not where the data end first."""
    exceeds = np.zeros(6 * HOURS, bool)
    exceeds[6 * 200] = True
    bands = np.full((len(ORIGINS_HOURS), 2), np.nan)
    bands[:4] = (205, 210), (190, np.inf), (170, 199), (300, 400)
    assert band_scores(exceeds, bands) == (2, 1, 1)
    bands[:4], bands[-1] = np.nan, (330, 400)
    assert band_scores(exceeds, bands) == (0, 0, 0)


def test_a_service_without_load_in_the_first_week_has_no_typical_peak() -> None:
    """So it has no limit to exceed."""
    rate = weeks(2)
    rate[: len(rate) // 2] = 0.0
    assert [*announcements([RealService("late", rate, is_sum=False)])] == []
