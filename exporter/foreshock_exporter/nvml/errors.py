"""NVML return codes: their reason, and their effect on the handle and on NVML."""

from __future__ import annotations

from typing import Any, Protocol

from foreshock_exporter.model.device import DeviceError, Reason


class Nvml(Protocol):
    """Module with the interface of nvidia-ml-py's pynvml, which has no type hints."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - functions and constants by name
        ...


class DriverGoneError(DeviceError):
    """The driver was unloaded or replaced; calls fail until NVML is initialized again."""


class ReturnCodes:
    """Return codes by meaning (nvml.h, nvmlReturn_t).

    After a `handle_valid` code the handle stays valid. An `unsupported` call never works with the device or driver.
    """

    def __init__(self, nvml: Nvml) -> None:
        self._reasons: dict[int, Reason] = {
            nvml.NVML_ERROR_NOT_SUPPORTED: "not_supported",
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "not_supported",
            nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "not_supported",
            nvml.NVML_ERROR_NO_PERMISSION: "no_permission",
            nvml.NVML_ERROR_NOT_FOUND: "not_found",
            nvml.NVML_ERROR_GPU_IS_LOST: "lost",
            nvml.NVML_ERROR_GPU_NOT_FOUND: "lost",
            nvml.NVML_ERROR_RESET_REQUIRED: "lost",
            nvml.NVML_ERROR_TIMEOUT: "timeout",
        }
        self.success: int = nvml.NVML_SUCCESS
        self.timeout: int = nvml.NVML_ERROR_TIMEOUT
        self.not_found: int = nvml.NVML_ERROR_NOT_FOUND
        self.not_supported: int = nvml.NVML_ERROR_NOT_SUPPORTED
        self.invalid_argument: int = nvml.NVML_ERROR_INVALID_ARGUMENT
        self.insufficient_size: int = nvml.NVML_ERROR_INSUFFICIENT_SIZE
        self.mismatch: int = nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
        self.driver_gone = frozenset(
            (
                nvml.NVML_ERROR_UNINITIALIZED,
                nvml.NVML_ERROR_DRIVER_NOT_LOADED,
                nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
                self.mismatch,
            )
        )
        self.unsupported = frozenset(code for code, reason in self._reasons.items() if reason == "not_supported")
        self.handle_valid = self.unsupported | {
            self.success,
            self.not_found,
            self.insufficient_size,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_NO_DATA,
        }

    def reason(self, code: int) -> Reason:
        """Reason of an error code."""
        return self._reasons.get(code, "driver")


def is_fatal(error: DeviceError) -> bool:
    """Whether further calls for the GPU in the same pass are pointless."""
    return error.reason in ("lost", "timeout") or isinstance(error, DriverGoneError)
