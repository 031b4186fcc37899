"""The command that measures exporters on the GPUs of a host, over the NVML double and a stand-in for dcgm-exporter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.exporter.gpus import Size, playing, tenants
from tests.nvml.conftest import nvml_library
from tests.nvml.double import Double

__all__ = ("nvml_library",)
pytestmark = pytest.mark.slow
QUICK = ("--windows", "1", "--seconds", "2", "--blocks", "1", "--warm-up", "0")
DCGM = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Page(BaseHTTPRequestHandler):
    starts = True
    def do_GET(self):
        self.send_response(503 if Page.starts else 200)
        Page.starts = False
        self.end_headers()
        self.wfile.write(b'DCGM_FI_DEV_POWER_USAGE{{gpu="0"}} 90\\n')
host, port = sys.argv[sys.argv.index("--address") + 1].split(":")
HTTPServer((host, int(port)), Page).serve_forever()
"""


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.exporter.card", *QUICK],
        cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def measured(nvml_library: Path, folder: Path, dcgm: str) -> subprocess.CompletedProcess[str]:
    """The command on a GPU with one process. dcgm: the program that stands in for dcgm-exporter."""
    double = Double(nvml_library, folder / "state")
    environment = double.environment(os.environ)
    program = folder / "dcgm-exporter"
    program.write_text(dcgm)
    program.chmod(0o755)
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    with tenants(Size(1, 1)) as pids, playing([double], pids):
        ran = run(environment)
    double.close()
    assert ran.returncode == 0, ran.stderr
    return ran


def test_each_exporter_that_is_installed_is_measured_on_the_gpus_of_the_host(
    nvml_library: Path, tmp_path: Path
) -> None:
    ran = measured(nvml_library, tmp_path, DCGM.format(python=sys.executable))
    assert ran.stdout.startswith("1 GPUs")
    rows = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if "-exporter | " in line]
    assert [row[0] for row in rows] == ["foreshock-exporter"] * 2 + ["nvitop-exporter", "dcgm-exporter"]
    assert (rows[0][2], rows[0][4]) == ("–", "–"), "passes and the library's time are unknown, not 0"


def test_a_peer_that_does_not_start_is_left_out_with_its_reason(nvml_library: Path, tmp_path: Path) -> None:
    ran = measured(nvml_library, tmp_path, "#!/bin/sh\necho no host engine >&2\nexit 1\n")
    assert "dcgm-exporter is not measured: dcgm-exporter does not report its GPUs; output: no host engine" in ran.stdout
    assert "| nvitop-exporter |" in ran.stdout


def test_without_a_gpu_nothing_is_measured_and_the_remedy_is_named(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    ran = run({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert ran.returncode == 1
    assert "run this on a host with one" in ran.stderr
