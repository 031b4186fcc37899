"""The capacity forecast is scored on traces of real weeks, here of simulated ones in the same form."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.capacity.weeks import weeks

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
