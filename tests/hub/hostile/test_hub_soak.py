"""Ten minutes of spans leave the hub's memory as two minutes did."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
from bench.hub.spans import stored
from bench.support.process import hub_process

RATE, MINUTES = 5_000, 10
MOST = 600.0
"""MiB that the hub may have at any second."""


@pytest.mark.soak
def test_memory_is_flat_under_a_steady_load(tmp_path: Path) -> None:
    """Over both protocols, with service graph and span metrics on, nothing lost; `make bench` sends the same, faster.

    A segment being written shows for some seconds, so a minute is the median of its seconds.
    """
    with hub_process(tmp_path / "store") as hub:
        sender = [
            sys.executable,
            "-m",
            "bench.hub.spans",
            "--rate",
            f"{RATE / 2}",
            "--seconds",
            f"{60 * MINUTES}",
            "--to",
        ]
        senders = [
            subprocess.Popen([*sender, endpoint], stdout=subprocess.PIPE, text=True) for endpoint in hub.endpoints
        ]
        begun, seconds = time.monotonic(), []
        while time.monotonic() - begun < 60 * MINUTES:
            seconds.append(hub.memory_mib())
            time.sleep(1)
        result = [json.loads(process.communicate(timeout=120)[0]) for process in senders]
    accepted, refused = map(sum, zip(*result, strict=True))
    each = len(seconds) // MINUTES
    minutes = [median(seconds[at * each : (at + 1) * each]) for at in range(MINUTES)]
    figures = f"MiB by minute {[round(minute) for minute in minutes]}, at most {max(seconds):.0f}"
    print(f"{accepted:,} spans accepted: {figures}")
    assert (refused, accepted - stored(tmp_path / "store")) == (0, 0)
    assert accepted > 0.9 * RATE * 60 * MINUTES
    assert max(seconds) < MOST, figures
    assert minutes[9] < 1.1 * minutes[1], figures
