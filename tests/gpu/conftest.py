"""Fixtures of the tests on a real NVIDIA GPU, which are skipped without one."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"


@pytest.fixture(scope="session")
def cards() -> int:
    """Number of GPUs of the NVIDIA driver, counted in a separate process."""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"no NVIDIA driver answers here: {ran.stderr.strip().splitlines()[-1]}")
    if (count := int(ran.stdout)) == 0:
        pytest.skip("the NVIDIA driver of this machine names no GPU")
    return count
