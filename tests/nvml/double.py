"""The NVML double: a C library with NVML's ABI, and its control.

`compile_library` compiles library/*.c against nvml.h of the package nvidia-nvml-dev into libnvidia-ml.so.1, which a
process loads by name from LD_LIBRARY_PATH. The library reads a memory-mapped state file, named by FORESHOCK_NVML_STATE
(library/state.h). `Double.show` writes a whole scripted host there under a sequence lock (odd while it writes). A
journal after the state counts calls by function and GPU, times passed as lastSeenTimeStamp, hung calls, and uses of
failed handles.

The library has no SONAME. Inside the test process it is passed to pynvml directly (fixture `nvml` in conftest.py), and
a later search for libnvidia-ml.so.1 must not find it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.nvml import layout, packing
from tests.nvml.dialect import Dialect
from tests.nvml.packing import Loading
from tests.nvml.scripted import ScriptedHost

VARIABLE = "FORESHOCK_NVML_STATE"
NAME = "libnvidia-ml.so.1"
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
_SEQUENCE = layout.State.sequence.offset


def header_folder() -> Path:
    """Where nvml.h is.

    Raises:
        FileNotFoundError: where the package nvidia-nvml-dev is not installed.
    """
    folders = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/include/nvml.h"))
    if not folders:
        raise FileNotFoundError("no nvml.h in site-packages; install nvidia-nvml-dev (make setup does)")
    return folders[-1].parent


def compile_library(folder: Path) -> Path:
    """Compile the library into a folder and return its path. Raises CalledProcessError with the compiler's output."""
    library = folder / NAME
    sources = sorted(str(path) for path in layout.LIBRARY.glob("*.c"))
    subprocess.run(["cc", *_FLAGS, "-isystem", str(header_folder()), *sources, "-o", str(library)], check=True)
    return library


class Double:
    """A state file and the library that answers from it."""

    def __init__(self, library: Path, path: Path) -> None:
        self.library = library
        self.path = path
        self.loading = Loading()
        self.dialects: Sequence[Dialect] = ()
        self._sequence = 0
        self._shown = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._descriptor, ctypes.sizeof(layout.State) + ctypes.sizeof(layout.Journal))
        self._write(0, ctypes.c_uint32(ctypes.sizeof(layout.State)))

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What a process needs to find the library and its state."""
        return {**base, VARIABLE: str(self.path), "LD_LIBRARY_PATH": str(self.library.parent)}

    def show(self, host: ScriptedHost) -> None:
        """Answer as this host from now on."""
        self.write(packing.state(host, self.dialects, self.loading))

    def write(self, state: layout.State) -> None:
        """Answer from this state from now on."""
        self._sequence += 2
        self._shown = max(self._shown, state.host.gpus)
        self._write(_SEQUENCE, ctypes.c_uint32(self._sequence - 1))
        start = layout.State.host.offset
        end = layout.State.gpus.offset + self._shown * ctypes.sizeof(layout.Gpu)
        os.pwrite(self._descriptor, bytes(memoryview(state).cast("B")[start:end]), start)
        self._write(_SEQUENCE, ctypes.c_uint32(self._sequence))

    def journal(self) -> layout.Journal:
        """Counts of calls so far, over all processes."""
        size = ctypes.sizeof(layout.Journal)
        return layout.Journal.from_buffer_copy(os.pread(self._descriptor, size, ctypes.sizeof(layout.State)))

    def calls(self, function: str, gpu: int | None = None) -> int:
        """How often a function was called, for one GPU or in all."""
        row = layout.MAX_GPUS if gpu is None else gpu
        return int(self.journal().calls[row][layout.CALLS.index(function)])

    def since(self, gpu: int, what: str) -> list[int]:
        """The last 512 times passed as lastSeenTimeStamp; `what` is "samples" or "processes"."""
        asked = getattr(self.journal(), what)[gpu]
        first = max(0, asked.count - layout.MAX_SINCE)
        return [int(asked.at[number % layout.MAX_SINCE]) for number in range(first, asked.count)]

    def misused(self) -> str:
        """The function last given a handle that had failed or was never given out, or nvmlShutdown under a call.

        Empty where NVML was used well.
        """
        journal = self.journal()
        return layout.CALLS[journal.misused_call] if journal.misused else ""

    def blocked(self) -> int:
        """How many calls hang now."""
        return int(self.journal().blocked)

    def held_samples(self) -> int:
        """How many GPM samples are allocated now."""
        return int(self.journal().gpm_samples)

    def race(self, gpu: int, times: int) -> None:
        """Let a list grow past the caller's array in so many calls."""
        offset = ctypes.sizeof(layout.State) + layout.Journal.races.offset + 8 * gpu
        self._write(offset, ctypes.c_int64(times))

    def forgive(self) -> None:
        """Forget the misused handles, where a test misuses one on purpose."""
        self._write(ctypes.sizeof(layout.State) + layout.Journal.misused.offset, ctypes.c_int64(0))

    def close(self) -> None:
        """Close the file; mappings of it stay."""
        os.close(self._descriptor)

    def _write(self, offset: int, value: ctypes.c_uint32 | ctypes.c_int64) -> None:
        os.pwrite(self._descriptor, bytes(value), offset)


class Player:
    """Shows a script to the double as time goes, for a process that runs live. A context manager."""

    def __init__(
        self, double: Double, at: Callable[[float], ScriptedHost], *, now: Callable[[], float], period: float = 0.05
    ) -> None:
        self._double, self._at, self._now, self._period = double, at, now, period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name="nvml-player")

    def __enter__(self) -> Self:
        self._double.show(self._at(self._now()))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._stop.wait(self._period):
            self._double.show(self._at(self._now()))
