"""GPUs of AMD and Intel as the Linux kernel reports them; no library of a vendor is needed.

The files of the kernel have what ROCm's amdsmi reads from them. They need no library, so that one image fits
all hosts, and a test can make them, faults included.

Imports: `model`.
"""

from __future__ import annotations

from foreshock_exporter.drm.driver import DrmDriver

__all__ = ["DrmDriver"]
