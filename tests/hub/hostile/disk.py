"""A disk that can be made to fail under a running hub (fault/fault.c)."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
WRITE, SYNC, OPEN, READ, NAME = 1, 2, 4, 8, 16
"""Kinds of calls, as in fault.c. NAME: rename, remove and make folders."""
_SOURCE = Path(__file__).parents[1] / "fault" / "fault.c"


class Disk:
    """What lies below `folder`. A process that is started with `environment` has its file operations fail on demand."""

    def __init__(self, folder: Path, build: Path, bad_sector: tuple[Path, int] | None = None) -> None:
        """Build the library in `build`. Raises CalledProcessError with the compiler's output.

        bad_sector: a file and an offset; only reads there fail, also once the file was renamed below `folder`.
        """
        library, control = build / "fault.so", build / "control"
        subprocess.run(["cc", *_FLAGS, str(_SOURCE), "-o", str(library), "-ldl"], check=True)
        control.write_bytes(bytes(16))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 16)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FORESHOCK_FAULT_FOLDER": str(folder),
            "FORESHOCK_FAULT_CONTROL": str(control),
        }
        if bad_sector:
            self.environment["FORESHOCK_FAULT_SECTOR"] = f"{bad_sector[0].stat().st_ino} {bad_sector[1]}"

    def fail(self, error: int, after: int, calls: int = WRITE | SYNC) -> None:
        """Let every call of some kinds fail with an errno, once `after` more of them have gone well."""
        self._control[4:16] = struct.pack("iii", after, 0, calls)
        self._control[0:4] = struct.pack("i", error)

    def repair(self) -> int:
        """Let them go well again; gives how many failed."""
        self._control[0:4] = bytes(4)
        (failed,) = struct.unpack("i", self._control[8:12])
        return int(failed)

    def close(self) -> None:
        """Let go of it."""
        self._control.close()
