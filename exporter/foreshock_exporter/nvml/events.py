"""XID errors from NVML events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from foreshock_exporter.model.device import DeviceError, Xid
from foreshock_exporter.nvml.errors import DriverGoneError
from foreshock_exporter.nvml.library import Library, address
from foreshock_exporter.nvml.mig import to_text

REGISTER_RETRY_SECONDS = 10.0
"""Delay before a failed registration of a GPU is retried; the GPU may have been reset."""
MAX_EVENTS = 256
"""Events per call; the rest stays queued in the driver."""


class XidEvents:
    """One event set for all GPUs, created on first use and again after NVML was reinitialized.

    Not thread-safe. A GPU that appears later is registered before the next wait.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._set: Any = None
        self._registered: dict[int, str] = {}  # UUID by address of the handle
        self._refused: dict[int, tuple[float, DeviceError]] = {}
        library.before_shutdown(self._reset)

    def wait(self, timeout: float) -> Sequence[Xid]:
        """See `Driver.xids`."""
        library = self._library
        deadline = library.timer() + timeout
        with library.session():
            self._register()
            xids: list[Xid] = []
            while len(xids) < MAX_EVENTS:
                wait = 0.0 if xids else max(0.0, deadline - library.timer())
                event = self._next(int(wait * 1000.0), ignore_errors=bool(xids))
                if event is None:
                    break
                if event.eventType & library.nvml.nvmlEventTypeXidCriticalError:
                    xids.append(Xid(self._uuid(event.device), int(event.eventData)))
            return xids

    def _next(self, milliseconds: int, *, ignore_errors: bool) -> Any:  # noqa: ANN401 - pynvml's structure, or None
        """Next event; None after the timeout, or on an error if `ignore_errors`. Raises DeviceError."""
        nvml, codes = self._library.nvml, self._library.codes
        try:
            return nvml.nvmlEventSetWait_v2(self._set, milliseconds)
        except nvml.NVMLError as error:
            if error.value == codes.timeout:
                return None
            failure = self._library.failure(error.value)
            self._free_set()
            if ignore_errors:
                return None
            raise failure from error

    def _register(self) -> None:
        """Register every GPU. Raises DeviceError if no GPU is registered."""
        count = self._library.count()
        failures: list[DeviceError] = []
        for _ in range(count + 1):  # each GPU can spoil the set once
            if self._set is None:
                self._set = self._library.call("nvmlEventSetCreate")
            failures = [failure for gpu in range(count) if (failure := self._register_gpu(gpu)) is not None]
            if self._set is not None:
                break
        if not self._registered:
            failures.sort(key=lambda failure: failure.reason == "not_supported")
            raise failures[0] if failures else DeviceError("not_found", "there is no GPU to report errors")

    def _register_gpu(self, gpu: int) -> DeviceError | None:
        """Register a GPU once per handle. Return the error if that fails; it is retried later.

        A failure other than "not supported" leaves the set undefined (nvml.h, nvmlDeviceRegisterEvents), so the set is
        freed. Raises DriverGoneError.
        """
        library, nvml = self._library, self._library.nvml
        retry_at, refusal = self._refused.get(gpu) or (0.0, None)
        if self._set is None or (refusal is not None and library.timer() < retry_at):
            return refusal
        device = None
        try:
            device = library.device(gpu)
            handle_address = address(device.handle)
            if handle_address in self._registered:
                return None
            uuid = nvml.nvmlDeviceGetUUID(device.handle)
            nvml.nvmlDeviceRegisterEvents(device.handle, nvml.nvmlEventTypeXidCriticalError, self._set)
        except nvml.NVMLError as error:
            refusal = library.failure(error.value, gpu, device)
            if error.value not in library.codes.handle_valid:
                self._free_set()
        except DeviceError as error:
            refusal = error
        else:
            self._registered[handle_address] = to_text(uuid)
            return None
        if isinstance(refusal, DriverGoneError):
            raise refusal
        self._refused[gpu] = (library.timer() + REGISTER_RETRY_SECONDS, refusal)
        return refusal

    def _uuid(self, handle: Any) -> str:  # noqa: ANN401 - an opaque pointer of NVML
        """UUID from the registration; a lost GPU cannot be queried."""
        known_uuid = self._registered.get(address(handle))
        if known_uuid is None:
            with suppress(DeviceError):
                known_uuid = to_text(self._library.call("nvmlDeviceGetUUID", handle))
        return known_uuid or ""

    def _reset(self) -> None:
        """Free everything before NVML is shut down."""
        self._free_set()
        self._refused.clear()

    def _free_set(self) -> None:
        """Free the set; its pending events are lost."""
        stale, self._set = self._set, None
        self._registered.clear()
        if stale is not None:
            with suppress(self._library.nvml.NVMLError):
                self._library.nvml.nvmlEventSetFree(stale)
