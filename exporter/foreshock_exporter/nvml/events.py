"""The errors that the driver reports by itself, by NVIDIA's XID number."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from foreshock_exporter.model.device import DeviceError, Xid
from foreshock_exporter.nvml.errors import DriverGoneError
from foreshock_exporter.nvml.library import Library, address
from foreshock_exporter.nvml.mig import to_text

REGISTER_RETRY_SECONDS = 10.0
"""Seconds until a GPU that could not be registered is tried again; it may have been reset."""
MAX_EVENTS = 256
"""Taken in one call; the rest waits in the driver for the next."""


class XidEvents:
    """One event set for all GPUs, made when it is first waited for and again after NVML was opened again.

    Used from one thread at a time; a GPU that comes late is added before the next wait.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._set: Any = None
        self._registered: set[int] = set()
        self._refused: dict[int, tuple[float, DeviceError]] = {}
        self._uuids: dict[int, str] = {}
        library.before_shutdown(self._forget)

    def wait(self, timeout: float) -> Sequence[Xid]:
        """As `Driver.xids`."""
        library = self._library
        deadline = library.timer() + timeout
        with library.entered():
            self._register()
            xids: list[Xid] = []
            while len(xids) < MAX_EVENTS:
                wait = 0.0 if xids else max(0.0, deadline - library.timer())
                event = self._next(int(wait * 1000.0), lenient=bool(xids))
                if event is None:
                    break
                if event.eventType & library.nvml.nvmlEventTypeXidCriticalError:
                    xids.append(Xid(self._uuid(event.device), int(event.eventData)))
            return xids

    def _next(self, milliseconds: int, *, lenient: bool) -> Any:  # noqa: ANN401 - pynvml's structure, or None
        """The next event; None where none comes in time, or fails after others have come. Raises DeviceError."""
        nvml, codes = self._library.nvml, self._library.codes
        try:
            return nvml.nvmlEventSetWait_v2(self._set, milliseconds)
        except nvml.NVMLError as error:
            if error.value == codes.timeout:
                return None
            failure = self._library.failure(error.value)
            self._free()
            if lenient:
                return None
            raise failure from error

    def _register(self) -> None:
        """Have every GPU in the set that can be. Raises DeviceError where none is."""
        count = self._library.count()
        failures: list[DeviceError] = []
        for _ in range(count + 1):  # each GPU can spoil the set once
            if self._set is None:
                self._set = self._library.call("nvmlEventSetCreate")
            failures = [failure for gpu in range(count) if (failure := self._add(gpu)) is not None]
            if self._set is not None:
                break
        if not self._registered:
            failures.sort(key=lambda failure: failure.reason == "not_supported")
            raise failures[0] if failures else DeviceError("not_found", "there is no GPU to report errors")

    def _add(self, gpu: int) -> DeviceError | None:
        """Register a GPU, once for each handle; why not, if it refuses. One that refused is asked again later.

        A failure other than "not supported" leaves the set undefined (nvml.h, nvmlDeviceRegisterEvents): it is let go
        of. Raises DriverGoneError.
        """
        library, nvml = self._library, self._library.nvml
        until, refusal = self._refused.get(gpu) or (0.0, None)
        if self._set is None or (refusal is not None and library.timer() < until):
            return refusal
        device = None
        try:
            device = library.device(gpu)
            place = address(device.handle)
            if place in self._registered:
                return None
            uuid = nvml.nvmlDeviceGetUUID(device.handle)
            nvml.nvmlDeviceRegisterEvents(device.handle, nvml.nvmlEventTypeXidCriticalError, self._set)
        except nvml.NVMLError as error:
            refusal = library.failure(error.value, gpu, device)
            if error.value not in library.codes.answered:
                self._free()
        except DeviceError as error:
            refusal = error
        else:
            self._registered.add(place)
            self._uuids[place] = to_text(uuid)
            return None
        if isinstance(refusal, DriverGoneError):
            raise refusal
        self._refused[gpu] = (library.timer() + REGISTER_RETRY_SECONDS, refusal)
        return refusal

    def _uuid(self, handle: Any) -> str:  # noqa: ANN401 - an opaque pointer of NVML
        """Known from when the GPU was registered: one that is lost cannot be asked."""
        known = self._uuids.get(address(handle))
        if known is None:
            with suppress(DeviceError):
                known = to_text(self._library.call("nvmlDeviceGetUUID", handle))
        return known or ""

    def _forget(self) -> None:
        """Let go of everything, before NVML is shut down."""
        self._free()
        self._refused.clear()
        self._uuids.clear()

    def _free(self) -> None:
        """Let go of the set; what is pending in it is lost."""
        stale, self._set = self._set, None
        self._registered.clear()
        if stale is not None:
            with suppress(self._library.nvml.NVMLError):
                self._library.nvml.nvmlEventSetFree(stale)
