"""NVML calls about one GPU, of which each may fail alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foreshock_exporter.model.device import DeviceError, Reason
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.field_values import FieldQuery, FieldValue, Quantities
from foreshock_exporter.nvml.library import Library


class DeviceQuery:
    """Calls nvidia-ml-py for one GPU within `Library.session`. `absent` collects the reasons of missing fields."""

    def __init__(self, library: Library, gpu: int) -> None:
        self.library = library
        self.gpu = gpu
        self.absent: dict[str, Reason] = {}

    def required(self, name: str, *arguments: object, expected_code: int | None = None) -> Any:  # noqa: ANN401 - as pynvml answers
        """Result of a function that takes the device handle as its first argument.

        `expected_code` is an error code that leaves the handle valid.

        Raises:
            DeviceError: the call failed.
        """
        device = self.library.device(self.gpu)
        return self.library.call(
            name, device.handle, *arguments, gpu=self.gpu, device=device, expected_code=expected_code
        )

    def optional(
        self, name: str, *arguments: object, fields: tuple[str, ...] = (), expected_code: int | None = None
    ) -> Any:  # noqa: ANN401
        """As `required`, but None on failure; the reason is recorded for `fields`.

        Raises:
            DeviceError: the GPU is lost, timed out, or the driver is gone.
        """
        try:
            return self.required(name, *arguments, expected_code=expected_code)
        except DeviceError as error:
            self.record_failure(fields, error)
            return None

    def system_value(self, name: str) -> Any:  # noqa: ANN401 - as pynvml answers
        """Result of a function without arguments, or None."""
        try:
            return self.library.call(name)
        except DeviceError as error:
            self.record_failure((), error)
            return None

    def field_values(self, subject: str, quantities: Callable[[], Quantities]) -> Mapping[str, FieldValue | Reason]:
        """Values of quantities, or reasons why they failed. Unsupported quantities are missing.

        `subject` identifies the query, which is narrowed to the supported fields. A timeout is the reason of these
        values alone: the call asks several units of the GPU, of which one may be slow while the GPU responds.

        Raises:
            DeviceError: the GPU is lost, or the driver is gone.
        """
        try:
            function = self.library.function("nvmlDeviceGetFieldValues")
            device = self.library.device(self.gpu)
            query = device.field_queries.get(subject)
            if query is None:
                query = device.field_queries[subject] = FieldQuery(quantities())
            code, values = query.read(function, device.handle, self.library.codes)
            if code != self.library.codes.success:
                raise self.library.failure(code, self.gpu, device)
        except DeviceError as error:
            if error.reason != "timeout":
                self.record_failure((), error)
            return {} if error.reason == "not_supported" else dict.fromkeys(quantities(), error.reason)
        return values

    def record_failure(self, fields: tuple[str, ...], error: DeviceError) -> None:
        """Record the reason for `fields`. Raises the error if the GPU is lost, timed out, or the driver is gone."""
        if is_fatal(error):
            raise error
        if error.reason != "not_supported":
            self.absent.update(dict.fromkeys(fields, error.reason))


class MigQuery(DeviceQuery):
    """Query of a MIG device. Its handle is discarded after a failure; only enumeration yields a new one."""

    def __init__(self, parent: DeviceQuery, handle: object) -> None:
        super().__init__(parent.library, parent.gpu)
        self._handle: object | None = handle

    def required(self, name: str, *arguments: object, expected_code: int | None = None) -> Any:  # noqa: ANN401 - as pynvml answers
        """As `DeviceQuery.required`, with the handle of the MIG device."""
        if self._handle is None:
            raise DeviceError("not_found", "the MIG device no longer exists")
        try:
            return self.library.call(name, self._handle, *arguments, gpu=self.gpu, expected_code=expected_code)
        except DeviceError as error:
            if error.reason not in ("not_supported", "no_permission", "not_found"):
                self._handle = None
            raise
