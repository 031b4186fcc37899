"""Minimal CUDA driver API over ctypes to keep a GPU busy; signatures as in cuda.h.

Names have the version suffix that cuda.h maps to (`cuCtxCreate_v2`), independent of the installed driver.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

NAME = "libcuda.so.1"
MULTIPROCESSORS = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT."""
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING."""
THREADS = 256
"""Of each block; one block for each multiprocessor."""

PTX = b"""
.version 4.3
.target sm_50
.address_size 64

.visible .entry spin(
    .param .u64 spin_result,
    .param .u32 spin_iterations
)
{
    .reg .pred %p<2>;
    .reg .b32 %r<4>;
    .reg .b64 %rd<3>;

    ld.param.u64 %rd1, [spin_result];
    ld.param.u32 %r1, [spin_iterations];
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, 0;
again:
    mad.lo.s32 %r2, %r2, 1664525, 1013904223;
    add.s32 %r3, %r3, 1;
    setp.lt.u32 %p1, %r3, %r1;
    @%p1 bra again;

    cvta.to.global.u64 %rd2, %rd1;
    st.global.u32 [%rd2], %r2;
    ret;
}
"""
"""Each thread turns a linear congruential generator so often, which no compiler can leave out, and stores the result.

PTX for compute capability 5.0 is translated for whatever GPU there is by its driver.
"""

_SIGNATURES: dict[str, Sequence[object]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuCtxCreate_v2": (POINTER(c_void_p), c_uint, c_int),
    "cuCtxDestroy_v2": (c_void_p,),
    "cuModuleLoadData": (POINTER(c_void_p), c_char_p),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), POINTER(c_void_p)),
    "cuStreamSynchronize": (c_void_p,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
}


class CudaError(RuntimeError):
    """A call failed; the message names it and CUDA's name of the error."""


class Cuda:
    """CUDA driver library that raises its errors."""

    def __init__(self, name: str = NAME) -> None:
        self._library = ctypes.CDLL(name)
        for function, arguments in _SIGNATURES.items():
            getattr(self._library, function).argtypes = arguments
            getattr(self._library, function).restype = c_int

    def call(self, function: str, *arguments: object) -> None:
        """Call a function that answers whether it succeeded.

        Raises:
            CudaError: it did not.
        """
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise CudaError(f"{function}: {self._error(code)}")

    def _error(self, code: int) -> str:
        name = c_char_p()
        known = self._library.cuGetErrorName(code, byref(name)) == 0 and name.value is not None
        return name.value.decode() if known and name.value else f"error {code}"


class Spinner:
    """A context on the first GPU that is visible to this process, and the kernel that spins.

    Raises:
        CudaError: the driver has no GPU for it, or refuses.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        device, count = c_int(), c_int()
        self._context, module, self._function, self._stream = c_void_p(), c_void_p(), c_void_p(), c_void_p()
        self._result, self._iterations = c_uint64(), c_uint32()
        cuda.call("cuInit", 0)
        cuda.call("cuDeviceGet", byref(device), 0)
        cuda.call("cuDeviceGetAttribute", byref(count), MULTIPROCESSORS, device.value)
        cuda.call("cuCtxCreate_v2", byref(self._context), 0, device.value)
        cuda.call("cuModuleLoadData", byref(module), PTX)
        cuda.call("cuModuleGetFunction", byref(self._function), module, b"spin")
        cuda.call("cuMemAlloc_v2", byref(self._result), 4)
        cuda.call("cuStreamCreate", byref(self._stream), NON_BLOCKING)
        self._blocks = count.value
        self._parameters = (c_void_p * 2)(ctypes.addressof(self._result), ctypes.addressof(self._iterations))

    def launch(self, iterations: int) -> None:
        """Queue one kernel; the driver copies its arguments before it returns."""
        self._iterations.value = iterations
        grid, block = (self._blocks, 1, 1), (THREADS, 1, 1)
        self._cuda.call("cuLaunchKernel", self._function, *grid, *block, 0, self._stream, self._parameters, None)

    def wait(self) -> None:
        """Until all that was queued has run."""
        self._cuda.call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give the GPU back."""
        self._cuda.call("cuCtxDestroy_v2", self._context)
