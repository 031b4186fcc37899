"""A disk that can be made to fail under a running hub (fault/fault.c)."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_SOURCE = Path(__file__).parent / "fault" / "fault.c"


class Disk:
    """What lies below `folder`. A hub that is started with `environment` has its writes and syncs fail on demand."""

    def __init__(self, folder: Path, build: Path) -> None:
        """Build the library in `build`. Raises CalledProcessError with the compiler's output."""
        library, control = build / "fault.so", build / "control"
        subprocess.run(["cc", *_FLAGS, str(_SOURCE), "-o", str(library), "-ldl"], check=True)
        control.write_bytes(bytes(12))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 12)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FORESHOCK_FAULT_FOLDER": str(folder),
            "FORESHOCK_FAULT_CONTROL": str(control),
        }

    def fail(self, error: int, after: int) -> None:
        """Let every write and sync fail with an errno, once `after` more have gone well."""
        self._control[4:12] = struct.pack("ii", after, 0)
        self._control[0:4] = struct.pack("i", error)

    def mend(self) -> int:
        """Let them go well again; gives how many failed."""
        self._control[0:4] = bytes(4)
        (failed,) = struct.unpack("i", self._control[8:12])
        return int(failed)

    def close(self) -> None:
        """Let go of it."""
        self._control.close()
