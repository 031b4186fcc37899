"""Lifecycle of NVML: initialized when a driver appears, shut down when it leaves."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.device import DeviceError, Identity, Reason
from foreshock_exporter.nvml.errors import DriverGoneError, Nvml, ReturnCodes, is_fatal
from foreshock_exporter.nvml.field_values import FieldQuery
from foreshock_exporter.nvml.samples import Capacity, Function

RETRY_SECONDS = 30.0
"""Delay between attempts to initialize NVML without a driver."""
DRAIN_SECONDS = 2.0
"""Time for which new calls are refused while those in flight end; a longer call counts as hung."""
_SONAME = "libnvidia-ml.so"


class MigMode(NamedTuple):
    """Whether MIG is enabled, and the time of the reading, in seconds of `Library.timer`."""

    is_enabled: bool
    read_at: float


@dataclass(eq=False, slots=True)
class Device:
    """Handle of a GPU and the state that belongs to it."""

    handle: Any
    is_valid: bool = True
    """Whether the handle may be used; otherwise it is looked up again first."""
    identity: Identity | None = None
    """Identity once all of it was read; its sharing mode says nothing."""
    links: int | None = None
    mig_mode: MigMode | None = None
    field_queries: dict[str, FieldQuery] = field(default_factory=dict)
    capacities: defaultdict[str, Capacity] = field(default_factory=lambda: defaultdict(Capacity))
    """Buffer size by function."""
    placements: dict[tuple[int, frozenset[str]], tuple[int, int] | Reason] = field(default_factory=dict)
    """First memory slice of GPU instances and number of slices, or why they are unknown, by id and UUIDs within."""


class Session:
    """Context of a use of NVML. A class, because a generator-based context manager cost 10% of all readings."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def __enter__(self) -> None:
        self._library.begin_call()

    def __exit__(self, *_: object) -> None:
        self._library.end_call()


class Library:
    """Initializes NVML on first use and, at most every `RETRY_SECONDS`, after the driver was gone.

    nvmlShutdown during a call crashes the process, and a call may never return. So calls in flight are counted
    (`session`), and the last one to end shuts NVML down; while one hangs, NVML stays initialized. No lock is held
    during a call. A handle that failed is never used again, because that of a lost GPU crashes the library.

    Args:
        nvml: pynvml or a module with the same functions.
        maps: memory map of this process (proc(5)).
        bound: folder in which the driver lists the GPUs bound to it.
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
        self.codes = ReturnCodes(nvml)
        self.timer = timer
        self.problems = problems or ProblemLog()
        self._maps = maps
        self._bound = bound
        self._bound_at_opening: frozenset[str] = frozenset()
        self.gpu_count = 0
        self._lock = threading.Lock()
        self._state: Literal["closed", "opening", "open", "closing"] = "closed"
        self._in_flight = 0
        self._last_attempt: float | None = None
        self._gone_since: float | None = None
        self._closed = False
        self._mismatch = False
        self._devices: dict[int, Device] = {}
        self._uuids: dict[int, object] = {}
        self._before_shutdown: list[Callable[[], None]] = []
        self._session = Session(self)

    def before_shutdown(self, release: Callable[[], None]) -> None:
        """Have `release` run before each shutdown, without calls in flight."""
        self._before_shutdown.append(release)

    def session(self) -> Session:
        """Context of every use of NVML. Raises DeviceError "driver" without a driver."""
        return self._session

    def begin_call(self) -> None:
        """Count a call, after initialization if due. Pair with `end_call`. Raises as `session`."""
        with self._lock:
            admission = self._admit()
        if admission == "opens":
            self._initialize()
        elif admission == "stuck":
            self.problems.report("NVML", "cannot be reopened: a call has not returned")

    def end_call(self) -> None:
        """Uncount a call; the last one shuts NVML down if due."""
        with self._lock:
            self._in_flight -= 1
            shuts_down = self._claim_shutdown()
        if shuts_down:
            self._shut_down()

    def close(self) -> None:
        """Shut NVML down for good, at the end of the last call in flight."""
        with self._lock:
            self._closed = True
            shuts_down = self._claim_shutdown()
            calls_left = self._in_flight if self._state == "open" else 0
        if shuts_down:
            self._shut_down()
        elif calls_left:
            self.problems.report("NVML", f"stays open until the calls in flight return ({calls_left})")

    def needs_restart(self) -> bool:
        """Whether only a new process can use the driver.

        After an upgrade of the driver, NVML returns LIB_RM_VERSION_MISMATCH: this process has the old library, and
        neither nvmlShutdown nor nvidia-ml-py unloads it. A new process loads the new file. If the file is unchanged
        (only the module was upgraded, or a container has the old library), a restart does not help.
        """
        return self._mismatch and _library_replaced(self._maps)

    def count(self) -> int:
        """Number of GPUs; requires a session. Raises DeviceError.

        When it changes, all handles are looked up again, because indexes may shift, and those of GPUs that are gone are
        discarded. NVML lists the GPUs bound at its
        initialization; if others are bound since, NVML is reinitialized once no other call is in flight.
        """
        count = int(self.call("nvmlDeviceGetCount"))
        bound = _entries(self._bound)
        with self._lock:
            if count != self.gpu_count:
                for gpu, device in self._devices.copy().items():
                    device.is_valid = False
                    if gpu >= count:
                        self._devices.pop(gpu, None)
                self.gpu_count = count
            if bound != self._bound_at_opening and self._last_attempt is not None:
                now = self.timer()
                is_due = now - self._last_attempt >= RETRY_SECONDS and self._gone_since is None
                if is_due and self._in_flight == 1:  # this call alone: a hung one would keep the others out for nothing
                    self._gone_since, self._bound_at_opening = now, bound
        return count

    def is_closed(self) -> bool:
        """Whether there is no driver, as far as known."""
        return self._state == "closed" or (self._state == "opening" and self.gpu_count == 0)

    def refresh_handle(self, gpu: int) -> None:
        """Look up the handle of a GPU; a new handle discards the state of the old one. Raises DeviceError."""
        self._set_handle(gpu, self.call("nvmlDeviceGetHandleByIndex", gpu))

    def set_uuid(self, gpu: int, uuid: object) -> None:
        """Bind the index to the GPU with this UUID. Discards the state of another GPU."""
        if self._uuids.get(gpu, uuid) != uuid:
            self._devices.pop(gpu, None)
        self._uuids[gpu] = uuid

    def device(self, gpu: int) -> Device:
        """Handle and state of a GPU; requires a session.

        Raises:
            DeviceError: there is no such GPU, or the index now belongs to another UUID than that of `set_uuid`.
        """
        device = self._devices.get(gpu)
        if device is not None and device.is_valid:
            return device
        handle, uuid = self.call("nvmlDeviceGetHandleByIndex", gpu), self._uuids.get(gpu)
        if uuid is not None and self.call("nvmlDeviceGetUUID", handle) != uuid:
            raise DeviceError("not_found", f"index {gpu} now refers to another GPU, which is identified again")
        return self._set_handle(gpu, handle)

    def function(self, name: str) -> Function:
        """Function of the C library. Raises DeviceError "not_supported" if this driver lacks it."""
        try:
            function: Function = getattr(self.nvml.nvmlLib, name)
        except AttributeError as error:
            raise DeviceError("not_supported", f"NVML: this driver has no {name}") from error
        return function

    def call(
        self,
        name: str,
        *arguments: object,
        gpu: int | None = None,
        device: Device | None = None,
        expected_code: int | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function answers
        """Result of a function of nvidia-ml-py. Raises DeviceError.

        `device` is the one whose handle is an argument. It stays valid after the error `expected_code`.
        """
        function = getattr(self.nvml, name, None)
        if function is None:
            raise DeviceError("not_supported", f"this nvidia-ml-py has no {name}")
        try:
            return function(*arguments)
        except self.nvml.NVMLError as error:
            raise self.failure(error.value, gpu, None if error.value == expected_code else device) from error

    def failure(self, code: int, gpu: int | None = None, device: Device | None = None) -> DeviceError:
        """Error of a return code. Has the handle looked up again if the code invalidates it.

        If the GPU is lost, or timed out, its state is discarded as well.
        """
        message = f"NVML: {self.nvml.NVMLError(code)}"
        is_gone = code in self.codes.driver_gone
        error = DriverGoneError("driver", message) if is_gone else DeviceError(self.codes.reason(code), message)
        if device is not None and gpu is not None and code not in self.codes.handle_valid:
            with self._lock:
                device.is_valid = False
                if is_fatal(error) and self._devices.get(gpu) is device:
                    del self._devices[gpu]
        if not is_gone:
            return error
        with self._lock:
            self._mismatch = code == self.codes.mismatch
            if self._gone_since is None:
                self._gone_since = self.timer()
        return error

    def _set_handle(self, gpu: int, handle: Any) -> Device:  # noqa: ANN401 - an opaque pointer of NVML
        """Device with this handle: the known one, with its state, if it has the same."""
        device = self._devices.get(gpu)
        if device is None or address(device.handle) != address(handle):
            device = self._devices[gpu] = Device(handle)
        device.is_valid = True
        return device

    def _admit(self) -> Literal["enters", "opens", "stuck"]:
        """Count the call, or reserve initialization for it. Requires the lock.

        If the driver is gone, calls are refused until those in flight have ended. If one hangs, the open library is
        used on.
        """
        now = self.timer()
        if self._closed:
            raise DeviceError("driver", "NVML is closed")
        if self._state in ("opening", "closing"):
            raise DeviceError("driver", f"NVML is {self._state}")
        if self._state == "open":
            gone_since, self._gone_since = self._gone_since, None
            if gone_since is not None and now - gone_since < DRAIN_SECONDS:
                self._gone_since = gone_since
                raise DriverGoneError("driver", "NVML reopens once the calls in flight return")
            self._in_flight += 1
            return "enters" if gone_since is None else "stuck"
        if self._last_attempt is not None and now - self._last_attempt < RETRY_SECONDS:
            raise DeviceError("driver", f"no NVIDIA driver; next try within {RETRY_SECONDS:g} s")
        self._last_attempt, self._state = now, "opening"
        return "opens"

    def _initialize(self) -> None:
        opened, bound = False, _entries(self._bound)
        try:
            self.nvml.nvmlInit()
            opened = True
        except self.nvml.NVMLError as error:
            self.problems.report(
                "NVML", f"no NVIDIA driver ({error}); continuing without NVIDIA GPUs, next try in {RETRY_SECONDS:g} s"
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
        self.problems.resolve("NVML")

    def _claim_shutdown(self) -> bool:
        """Whether the caller must shut NVML down. Requires the lock."""
        is_due = self._state == "open" and self._in_flight == 0 and (self._closed or self._gone_since is not None)
        if is_due:
            self._state = "closing"
        return is_due

    def _shut_down(self) -> None:
        try:
            for release in self._before_shutdown:
                release()
            with suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()
        finally:
            with self._lock:
                self._devices.clear()
                self._gone_since = None
                self._state = "closed"


def address(handle: Any) -> int:  # noqa: ANN401 - an opaque pointer of NVML
    """Address of a handle, for comparison."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _entries(folder: Path) -> frozenset[str]:
    """Names in a folder; empty if it cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - looked at ten times a second
    except OSError:
        return frozenset()


def _library_replaced(maps: Path) -> bool:
    """Whether the mapped NVML library is no longer the file of that name."""
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return False
    mapped = {match[1] for line in lines if (match := re.search(r"(/\S*/libnvidia-ml\.so.*)$", line))}
    return any(path.endswith(" (deleted)") or _name_moved(Path(path)) for path in mapped)


def _name_moved(mapped: Path) -> bool:
    """Whether the loader's name of NVML now resolves to another file in the same folder."""
    try:
        return (mapped.parent / f"{_SONAME}.1").resolve(strict=True) != mapped.resolve(strict=True)
    except OSError:
        return not mapped.exists()
