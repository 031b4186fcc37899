"""NVML as a whole: opened when there is a driver, let go of when it leaves, opened again when it comes back."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.device import DeviceError
from foreshock_exporter.nvml.errors import Codes, DriverGoneError, Nvml
from foreshock_exporter.nvml.fields import FieldQuery
from foreshock_exporter.nvml.samples import BufferPool, Function, process_buffers, sample_buffers

RETRY_SECONDS = 30.0
"""Seconds between attempts to open NVML where there is no driver."""
DRAIN_SECONDS = 2.0
"""Seconds for which new calls are refused so that those in flight can end; one that takes longer is taken to hang."""
_SONAME = "libnvidia-ml.so"


@dataclass(eq=False, slots=True)
class Device:
    """A GPU's handle, and what was learnt of it since the handle was looked up."""

    handle: Any
    links: int | None = None
    asking: dict[str, FieldQuery] = field(default_factory=dict)
    samples: BufferPool = field(default_factory=sample_buffers)
    processes: BufferPool = field(default_factory=process_buffers)


class Library:
    """Opens NVML on first use and again, at most every `RETRY_AFTER` seconds, after the driver went away.

    Every call is counted while it is in flight (`entered`), because nvmlShutdown under a call crashes the process, and
    a call may never return. So NVML is shut down by whichever call is the last to leave; while one hangs it stays open.
    No lock is held during a call. A handle that failed is never used again, because one of a lost GPU crashes the
    library; it is looked up anew.

    Args:
        nvml: pynvml, or what is shaped like it.
        timer: a steady clock in seconds.
        notices: where a missing driver is said once.
        maps: the list of files mapped into this process (proc(5)).
        bound: the folder in which the driver lists the GPUs bound to it.
    """

    def __init__(
        self,
        nvml: Nvml,
        *,
        timer: Callable[[], float] = time.monotonic,
        problems: ProblemLog | None = None,
        maps: Path = Path("/proc/self/maps"),
        bound: Path = Path("/proc/driver/nvidia/gpus"),
    ) -> None:
        self.nvml = nvml
        self.codes = Codes(nvml)
        self.timer = timer
        self._problems = problems or ProblemLog()
        self._maps = maps
        self._bound = bound
        self._bound_at_opening: frozenset[str] = frozenset()
        self._counted = 0
        self._lock = threading.Lock()
        self._state: Literal["closed", "opening", "open", "closing"] = "closed"
        self._in_flight = 0
        self._tried: float | None = None
        self._gone_since: float | None = None
        self._finished = False
        self._mismatch = False
        self._devices: dict[int, Device] = {}
        self._uuids: dict[int, object] = {}
        self._functions: dict[str, Function] = {}
        self._before_shutdown: list[Callable[[], None]] = []

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Around every use of NVML. Raises DeviceError "driver" while there is no driver."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Count a call in, opening NVML where that is due; pair with `leave`. Raises as `entered`."""
        with self._lock:
            admission = self._admit()
        if admission == "opens":
            self._initialise()
        elif admission == "stuck":
            self._problems.report("NVML", "stays open, though it is to be opened again: a call has not returned")

    def leave(self) -> None:
        """Count a call out; the last one shuts NVML down where that is due."""
        with self._lock:
            self._in_flight -= 1
            shuts = self._may_shut()
        if shuts:
            self._shut_down()

    def close(self) -> None:
        """Let go of NVML for good, without which the driver cannot be unloaded; with the last call where one is out."""
        with self._lock:
            self._finished = True
            shuts = self._may_shut()
            waits = self._in_flight if self._state == "open" else 0
        if shuts:
            self._shut_down()
        elif waits:
            self._problems.report("NVML", f"stays open until the calls in flight return ({waits})")

    def before_shutdown(self, act: Callable[[], None]) -> None:
        """Have something done each time before NVML is shut down, when no call is in flight."""
        self._before_shutdown.append(act)

    def needs_restart(self) -> bool:
        """Whether only a new process can use the driver again.

        The libraries of a driver are upgraded under a running process, the kernel module is reloaded, and NVML answers
        LIB_RM_VERSION_MISMATCH: the library in this process is that of the old driver, and neither nvmlShutdown nor
        nvidia-ml-py unloads it. A new process finds the new one. Where the file has not changed (the module alone was
        upgraded, or a container still has the old library), a new process would fare no better: false.
        """
        return self._mismatch and _replaced(self._maps)

    def count(self) -> int:
        """How many GPUs NVML names; to be used within `entered`. Raises DeviceError.

        Where that changes, the same index may be another GPU: all handles are looked up anew. NVML names the GPUs that
        were bound when it was opened; where others are bound since, it is opened anew when no other call is in flight.
        """
        count = int(self.call("nvmlDeviceGetCount"))
        bound = _listed(self._bound)
        with self._lock:
            if count != self._counted:
                self._devices.clear()
                self._counted = count
            if bound != self._bound_at_opening and self._tried is not None:
                now = self.timer()
                due = now - self._tried >= RETRY_SECONDS and self._gone_since is None
                if due and self._in_flight == 1:  # this call alone: a hung one would keep the others out for nothing
                    self._gone_since, self._bound_at_opening = now, bound
        return count

    def is_closed(self) -> bool:
        """Whether there is no driver to ask, as far as is known."""
        return self._state == "closed" or (self._state == "opening" and self._counted == 0)

    def renew(self, gpu: int) -> None:
        """Look the handle of a GPU up anew; where it is another, nothing is known of the GPU. Raises DeviceError."""
        handle = self.call("nvmlDeviceGetHandleByIndex", gpu)
        device = self._devices.get(gpu)
        if device is None or address(device.handle) != address(handle):
            self._devices[gpu] = Device(handle)

    def identified(self, gpu: int, uuid: object) -> None:
        """From now on, whoever asks of the index means the GPU with this uuid, as NVML gives it."""
        self._uuids[gpu] = uuid

    def device(self, gpu: int) -> Device:
        """The handle of a GPU and what is known of it; to be used within `entered`.

        Raises:
            DeviceError: there is none; or by now the index is that of another GPU than `identified` said.
        """
        device = self._devices.get(gpu)
        if device is None:
            device = Device(self.call("nvmlDeviceGetHandleByIndex", gpu))
            uuid = self._uuids.get(gpu)
            if uuid is not None and self.call("nvmlDeviceGetUUID", device.handle) != uuid:
                raise DeviceError("not_found", f"index {gpu} is that of another GPU now; it has to be identified anew")
            self._devices[gpu] = device
        return device

    def function(self, name: str) -> Function:
        """A function of the library itself. Raises DeviceError "not_supported" where this driver lacks it.

        Looked up anew whenever NVML is opened: nvidia-ml-py may have loaded another file since.
        """
        function = self._functions.get(name)
        if function is None:
            try:
                function = self._functions[name] = getattr(self.nvml.nvmlLib, name)
            except AttributeError as error:
                raise DeviceError("not_supported", f"NVML: this driver has no {name}") from error
        return function

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the function answers
        """Call a function of nvidia-ml-py that is given no handle of a GPU. Raises DeviceError."""
        try:
            return getattr(self.nvml, name)(*arguments)
        except self.nvml.NVMLError as error:
            raise self.failure(error.value) from error

    def failure(self, code: int, gpu: int | None = None, device: Device | None = None) -> DeviceError:
        """The error for a code. Where the GPU's handle failed it is forgotten, with what was known of the GPU."""
        message = f"NVML: {self.nvml.NVMLError(code)}"
        if device is not None and gpu is not None and code not in self.codes.answered:
            with self._lock:
                if self._devices.get(gpu) is device:
                    del self._devices[gpu]
        if code not in self.codes.gone:
            return DeviceError(self.codes.reason(code), message)
        with self._lock:
            self._mismatch = code == self.codes.mismatch
            if self._gone_since is None:
                self._gone_since = self.timer()
        return DriverGoneError("driver", message)

    def _admit(self) -> Literal["enters", "opens", "stuck"]:
        """Count the call in, or let it open NVML first. Under the lock.

        Where the driver is gone, calls are refused until those of before have returned; if one hangs, what is open is
        gone on with.
        """
        now = self.timer()
        if self._finished:
            raise DeviceError("driver", "NVML has been let go of")
        if self._state in ("opening", "closing"):
            raise DeviceError("driver", f"NVML is {self._state}")
        if self._state == "open":
            gone_since, self._gone_since = self._gone_since, None
            if gone_since is not None and now - gone_since < DRAIN_SECONDS:
                self._gone_since = gone_since
                raise DriverGoneError("driver", "NVML is to be opened again; waiting for calls in flight to return")
            self._in_flight += 1
            return "enters" if gone_since is None else "stuck"
        if self._tried is not None and now - self._tried < RETRY_SECONDS:
            raise DeviceError("driver", f"no NVIDIA driver to ask; asked again every {RETRY_SECONDS:g} s")
        self._tried, self._state = now, "opening"
        return "opens"

    def _initialise(self) -> None:
        opened, bound = False, _listed(self._bound)
        try:
            self.nvml.nvmlInit()
            opened = True
        except self.nvml.NVMLError as error:
            self._problems.report(
                "NVML", f"no NVIDIA driver to ask ({error}); going on without GPUs, next try in {RETRY_SECONDS:g} s"
            )
            self._mismatch = error.value == self.codes.mismatch
            raise DeviceError("driver", f"NVML: {error}") from error
        finally:
            with self._lock:
                self._state = "open" if opened else "closed"
                if opened:
                    self._in_flight += 1
                    self._bound_at_opening = bound
                    self._gone_since, self._mismatch = None, False
        self._problems.resolve("NVML")

    def _may_shut(self) -> bool:
        """Whether the caller is to shut NVML down now. Under the lock."""
        due = self._state == "open" and self._in_flight == 0 and (self._finished or self._gone_since is not None)
        if due:
            self._state = "closing"
        return due

    def _shut_down(self) -> None:
        try:
            for act in self._before_shutdown:
                act()
            with suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()
        finally:
            with self._lock:
                self._devices.clear()
                self._functions.clear()
                self._gone_since = None
                self._state = "closed"


def address(handle: Any) -> int:  # noqa: ANN401 - an opaque pointer of NVML
    """Where a handle points, by which two are compared."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _listed(folder: Path) -> frozenset[str]:
    """The entries of a folder; none where it cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - looked at ten times a second
    except OSError:
        return frozenset()


def _replaced(maps: Path) -> bool:
    """Whether the NVML library mapped into this process is no longer what its name leads to."""
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return False
    mapped = {match[1] for line in lines if (match := re.search(r"(/\S*/libnvidia-ml\.so.*)$", line))}
    return any(path.endswith(" (deleted)") or _elsewhere(Path(path)) for path in mapped)


def _elsewhere(mapped: Path) -> bool:
    """Whether the name by which the loader finds NVML now leads to another file of the same folder."""
    try:
        return (mapped.parent / f"{_SONAME}.1").resolve(strict=True) != mapped.resolve(strict=True)
    except OSError:
        return not mapped.exists()
