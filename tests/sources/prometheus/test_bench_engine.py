"""The hub over a real server that holds a small fleet, as the benchmark measures it."""

from __future__ import annotations

import re
import shutil

import pytest
from bench.engine import prometheus

MAX_REQUESTS = 40
"""Of an evaluation."""


@pytest.mark.soak
@pytest.mark.parametrize("server", prometheus.COUNTERS)
def test_an_evaluation_is_a_few_requests(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also over VictoriaMetrics, which reads the same PromQL."""
    if shutil.which(server) is None:
        pytest.skip(f"{server} is not installed")
    sizes = ["--hosts", "2", "--services", "4", "--hours", "0.2", "--interval", "5", "--evaluations", "3"]

    assert prometheus.main(["--server", server, *sizes]) == 0

    printed = capsys.readouterr().out
    found = re.search(r"^evaluation +\S+ +\S+ +\S+ +(\S+)", printed, re.MULTILINE)
    assert found, printed
    assert 1 <= float(found[1]) <= MAX_REQUESTS, printed
