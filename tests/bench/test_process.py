"""Benchmarks leave no process behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Eventually

BENCHMARK = """
import sys
from pathlib import Path
from bench.support import process
process.BIN, process.STOP_SECONDS = Path(sys.argv[1]), 0.2
process.end_processes_when_ended()
with process.hub_process(Path("store")) as hub:
    print(hub.pid, flush=True)
    sys.stdin.read()
"""
HUB = """#!/bin/sh
{trap}
echo page http://127.0.0.1:1; echo gRPC 127.0.0.1:2; echo HTTP 127.0.0.1:3
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("trap", ["", "trap '' TERM"])
def test_a_benchmark_that_is_ended_ends_its_hub(
    tmp_path: Path, eventually: Eventually, number: signal.Signals, trap: str
) -> None:
    """Also one that does not stop."""
    hub = tmp_path / "foreshock"
    hub.write_text(HUB.format(trap=trap))
    hub.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", BENCHMARK, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    pid = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the hub has ended")
