"""What tests of a real NVIDIA GPU need; without one they are skipped, and the reason says why."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"


@pytest.fixture(scope="session")
def cards() -> int:
    """How many GPUs the NVIDIA driver of this machine names; asked in a process of its own."""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"no NVIDIA driver answers here: {ran.stderr.strip().splitlines()[-1]}")
    if (count := int(ran.stdout)) == 0:
        pytest.skip("the NVIDIA driver of this machine names no GPU")
    return count
