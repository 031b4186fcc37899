"""NVML's tagged values: how each type lies in its eight bytes, and where a counter of that type starts again.

nvml.h, nvmlValue_t and nvmlValueType_t: double, uint, ulong (64 bits on Linux), ulonglong, longlong, int, ushort.
"""

from __future__ import annotations

FORMATS = ("d", "I4x", "Q", "Q", "q", "i4x", "H6x")
"""By value type, for `struct` in native order without alignment."""
WRAPS = (None, 2.0**32, 2.0**64, 2.0**64, None, None, 2.0**16)
"""By value type; None where the type does not say."""
