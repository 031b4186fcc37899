"""OpenMetrics files of a 0.1 exporter, whose metrics have other names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from foreshock_dashboard.recording.reader import Recording

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock

OLD = """\
gpus_up 1 1790000000
gpu_service_stalled_seconds_total{uuid="A",service_name="llm"} 4 1790000000
gpu_service_stalled_by_seconds_total{uuid="A",service_name="llm",by_service_name="batch"} 3 1790000000
gpu_ecc_errors_total{uuid="A",severity="uncorrected"} 1 1790000000
alerts_total{severity="critical"} 1 1790000000
# EOF
"""


def test_series_of_an_old_exporter_get_their_new_names(
    foreshock: Foreshock, tmp_path: Path, opened: Callable[[Path], Recording]
) -> None:
    """And the command says how many, so that GPU wait is not missing silently."""
    (tmp_path / "old.om").write_text(OLD)
    command = "recording", "import", "--openmetrics", tmp_path / "old.om", "--output-dir", tmp_path / "recording"

    assert foreshock(*command) == 0, foreshock.said

    assert {(series.metric, series.labels) for series in opened(tmp_path / "recording").series} == {
        ("gpus_up", ()),
        ("gpu_service_wait_seconds_total", (("service_name", "llm"), ("uuid", "A"))),
        (
            "gpu_service_wait_by_aggressor_seconds_total",
            (("aggressor_name", "batch"), ("service_name", "llm"), ("uuid", "A")),
        ),
        ("gpu_ecc_errors_total", (("error_type", "uncorrected"), ("uuid", "A"))),
        ("alerts_total", (("severity", "critical"),)),
    }
    assert "3 series of a 0.1 exporter, imported under their new names" in foreshock.said
