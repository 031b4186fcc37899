"""The questions of one call about one GPU: each may go unanswered without spoiling the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshock_exporter.model.device import DeviceError, Reason
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.fields import FieldQuery, FieldValue, Quantities
from foreshock_exporter.nvml.library import Device, Library


class DeviceQuery:
    """Asks nvidia-ml-py about a GPU, within `Library.entered`, and notes in `absent` why a field stayed empty."""

    def __init__(self, library: Library, gpu: int) -> None:
        self.library = library
        self.gpu = gpu
        self.absent: dict[str, Reason] = {}

    def must(self, name: str, *arguments: object, fine: int | None = None) -> Any:  # noqa: ANN401 - as pynvml answers
        """The answer of a function that is given the GPU's handle first. Raises DeviceError where there is none.

        `resolve` is a code that says nothing against the handle here.
        """
        device = self.library.device(self.gpu)
        return self._answer(device.handle, name, *arguments, device=device, fine=fine)

    def may(self, name: str, *arguments: object, of: tuple[str, ...] = (), fine: int | None = None) -> Any:  # noqa: ANN401
        """As `must`, but None where there is no answer; the reason is noted for the fields `of`.

        Raises DeviceError where the GPU is lost, does not answer in time, or the driver went away.
        """
        try:
            return self.must(name, *arguments, fine=fine)
        except DeviceError as error:
            self._note(of, error)
            return None

    def host(self, name: str) -> Any:  # noqa: ANN401 - as pynvml answers
        """The answer of a function that is given nothing, or None."""
        try:
            return self.library.call(name)
        except DeviceError as error:
            self._note((), error)
            return None

    def fields(self, subject: str, wanted: Quantities) -> Mapping[str, FieldValue | Reason]:
        """What was measured of the quantities wanted, or why one was not; one that the device lacks is missing.

        `subject` names the question, which shrinks to what the device has. Raises as `may`.
        """
        try:
            function = self.library.function("nvmlDeviceGetFieldValues")
            device = self.library.device(self.gpu)
            asking = device.asking.get(subject)
            if asking is None:
                asking = device.asking[subject] = FieldQuery(wanted)
            code, said = asking.ask(function, device.handle, self.library.codes)
            if code != self.library.codes.success:
                raise self.library.failure(code, self.gpu, device)
        except DeviceError as error:
            self._note((), error)
            return {} if error.reason == "not_supported" else dict.fromkeys(wanted, error.reason)
        return said

    def _answer(
        self, handle: object, name: str, *arguments: object, device: Device | None = None, fine: int | None = None
    ) -> Any:  # noqa: ANN401 - as pynvml answers
        nvml = self.library.nvml
        function = getattr(nvml, name, None)
        if function is None:
            raise DeviceError("not_supported", f"this nvidia-ml-py has no {name}")
        try:
            return function(handle, *arguments)
        except nvml.NVMLError as error:
            failed = None if error.value == fine else device
            raise self.library.failure(error.value, self.gpu, failed) from error

    def _note(self, of: tuple[str, ...], error: DeviceError) -> None:
        if is_fatal(error):
            raise error
        if error.reason != "not_supported":
            self.absent.update(dict.fromkeys(of, error.reason))


class MigQuery(DeviceQuery):
    """The same of a MIG device, whose handle is void once it failed: only a new walk finds what is there now."""

    def __init__(self, parent: DeviceQuery, handle: object) -> None:
        super().__init__(parent.library, parent.gpu)
        self._handle: object | None = handle

    def must(self, name: str, *arguments: object, fine: int | None = None) -> Any:  # noqa: ANN401 - as pynvml answers
        """As `Asked.must`, with the handle of the MIG device."""
        if self._handle is None:
            raise DeviceError("not_found", "the MIG device is no longer there")
        try:
            return self._answer(self._handle, name, *arguments, fine=fine)
        except DeviceError as error:
            if error.reason not in ("not_supported", "no_permission", "not_found"):
                self._handle = None
            raise
