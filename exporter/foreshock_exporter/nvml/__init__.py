"""The GPU driver over NVML; the only package that imports nvidia-ml-py.

Imports: `common`, `model`.
"""

from __future__ import annotations

from foreshock_exporter.nvml.driver import NvmlDriver
from foreshock_exporter.nvml.library import RETRY_SECONDS, Library

__all__ = ["RETRY_SECONDS", "Library", "NvmlDriver", "nvml_driver"]


def nvml_driver(per_link: bool = False) -> NvmlDriver:
    """Driver of this host. Works without a GPU driver (`count()` is 0) and detects a later installation.

    `per_link`: whether counters include each NVLink.
    """
    import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints

    return NvmlDriver(Library(pynvml), per_link=per_link)
