"""What a process says of MPS: its limits as a client, and whether it is a server (NVIDIA's MPS guide)."""

from __future__ import annotations

import re
from collections.abc import Mapping

SERVER, CONTROL_DAEMON = "nvidia-cuda-mps-server", "nvidia-cuda-mps-control"
"""Programs of MPS. The control daemon starts the servers."""
VARIABLES = ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT")

_PERCENTAGE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,9})?")
_MEMORY_LIMIT = re.compile(r"[0-9]{1,4}=([0-9]{1,9})([KMG])B?")
_UNITS = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30}


def sm_limit(environ: Mapping[str, str]) -> float | None:
    """Share of the SMs, 0 to 1, that the environment leaves to an MPS client; None without a valid limit."""
    text = environ.get(VARIABLES[0], "").strip()
    percent = float(text) if _PERCENTAGE.fullmatch(text) else 0.0
    return percent / 100.0 if 0.0 < percent <= 100.0 else None


def memory_limit(environ: Mapping[str, str]) -> float | None:
    """Bytes of device memory that an MPS client may allocate on each of its GPUs, such as `0=1G,1=512M`.

    The devices are numbered as the process sees them. So the limit of a GPU is known only if all have the same.
    """
    entries = [_MEMORY_LIMIT.fullmatch(entry.strip()) for entry in environ.get(VARIABLES[1], "").split(",")]
    limits = {float(entry[1]) * _UNITS[entry[2]] if entry else None for entry in entries}
    limit = limits.pop()
    return None if limits else limit or None


def program_of(cmdline: bytes) -> str:
    """Name of the program in the first argument of a command line."""
    return cmdline.partition(b"\0")[0].rpartition(b"/")[2].decode(errors="replace")
