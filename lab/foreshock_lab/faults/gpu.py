"""GPU contention by a second process on the GPU of a model server."""

from __future__ import annotations

import shutil
import subprocess
import sys

from foreshock_lab.faults.target import System

KERNELS = """
import sys, time, torch
matrix = torch.randn(4096, 4096, device="cuda")
share = 0.0
for line in sys.stdin:
    share = float(line)
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        began = time.monotonic()
        for _ in range(8):
            matrix @ matrix
        torch.cuda.synchronize()
        time.sleep((time.monotonic() - began) * (1.0 - share) / share)
"""
"""Products of matrices for a share of the time; each line of the input lasts five seconds."""


class GpuNeighbor:
    """A process of another service multiplies matrices on the same GPU for `amount` of the time."""

    def __init__(self, _system: System, _name: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", KERNELS], stdin=subprocess.PIPE, text=True)

    def set(self, amount: float) -> None:
        """Set the share of time."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{max(0.01, amount)}\n")
        self._process.stdin.flush()

    def clear(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def without_gpu() -> str:
    """Why there is no GPU contention on this machine; "" if there can be."""
    if shutil.which("nvidia-smi") is None:
        return "this machine has no NVIDIA GPU"
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return "" if found.stdout.startswith("GPU") else "nvidia-smi lists no GPU"
