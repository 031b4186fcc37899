"""What a hub under measurement reads: exporters of mock GPUs, and spans of a sender in another process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.support.process import REAL_TIME, clock_arguments
from foreshock_dashboard.common.clock import Clock, Now
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.script.mock import mock_network, open_script
from foreshock_exporter.web.server import serve

GPUS_PER_HOST = 4


@contextmanager
def exporter(host: int, now: Now = time.time) -> Iterator[str]:
    """A mock host in this process; gives its `host:port`."""
    script = open_script("contended", now)
    mock = Exporter(
        script.driver,
        script.resolver,
        host_id=f"bench-{host}",
        host_name=f"bench-{host}",
        mock=True,
        host={"network": mock_network(now)},
    )
    mock.start()
    with closing(mock), closing(serve(mock, "127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.port}"


@contextmanager
def load(endpoint: str, rate: float, clock: Clock = REAL_TIME) -> Iterator[Path]:
    """A sender in another process, on a clock; gives the file with the numbers of accepted and refused spans."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        counts_file = Path(folder) / "accepted"
        counts_file.write_text("0 0")
        command = [sys.executable, "-m", "bench.support.send_spans", endpoint, str(rate), str(counts_file)]
        process = subprocess.Popen([*command, *clock_arguments(clock)])
        try:
            yield counts_file
        finally:
            process.terminate()
            process.wait(10)


def counts(counts_file: Path) -> tuple[int, int]:
    """Spans accepted and refused so far."""
    accepted, refused = counts_file.read_text().split() or ("0", "0")
    return int(accepted), int(refused)
