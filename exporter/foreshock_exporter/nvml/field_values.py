"""Many values in one call: nvmlDeviceGetFieldValues, narrowed to the fields a device supports.

Each value has its own return code and type. Field ids and units: nvml.h, NVML_FI_*. Ids are numbers, because older
releases of nvidia-ml-py lack some names.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_exporter.model.device import Reason
from foreshock_exporter.nvml.errors import ReturnCodes
from foreshock_exporter.nvml.samples import FORMATS, WRAPS, Function

ALL_LINKS_SCOPE = 0xFFFFFFFF
"""Scope of an NVLink field for the total over all links."""

_FIELD = struct.Struct("=IIqqII8s")
"""nvmlFieldValue_t: field, scope, time, latency, value type, return code, value."""
_UNANSWERED = 999
"""NVML_ERROR_UNKNOWN, the code before the driver writes another."""
_VALUE_FORMATS = tuple(struct.Struct(f"={value}") for value in FORMATS)


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Field of a quantity: its sum over `scopes`, divided by `divisor` to get base units.

    With `decode`, which turns a raw value into base units, it is the largest of the scopes instead.
    """

    field: int
    divisor: float = 1.0
    scopes: tuple[int, ...] = (0,)
    decode: Callable[[float], float] | None = None


class FieldValue(NamedTuple):
    """Quantity in base units and the value at which it wraps, if known."""

    value: float
    wraps: float | None


Quantities = Mapping[str, tuple[FieldSource, ...]]
"""Candidate fields of each quantity, best first."""
_Key = tuple[int, int]
_Answer = tuple[int, float | None, float | None]
"""Return code, value, and wrap value; both values are None unless the code is success."""
_MISSING: _Answer = (_UNANSWERED, None, None)


class FieldQuery:
    """Query of one device that drops unsupported fields.

    Of two candidate fields, the first with a non-zero value is kept: some drivers always return 0 for the field of
    another generation. Until then both are requested.
    """

    def __init__(self, quantities: Quantities) -> None:
        self._narrow(quantities)

    def read(
        self, function: Function, handle: object, codes: ReturnCodes
    ) -> tuple[int, dict[str, FieldValue | Reason]]:
        """Call nvmlDeviceGetFieldValues once. Return its code and, on success, values or failure reasons.

        Unsupported quantities are missing. If a field's code means that the GPU or driver is gone, that code is
        returned.
        """
        if not self._template:
            return codes.success, {}
        array = ctypes.create_string_buffer(self._template, len(self._template))
        code = function(handle, len(self._template) // _FIELD.size, array)
        if code in codes.unsupported:
            self._narrow({})
            return codes.success, {}
        if code != codes.success:
            return code, {}
        answers = _parse_answers(array)
        for code in {code for code, _, _ in answers.values() if code}:
            if code in codes.driver_gone or codes.reason(code) == "lost":
                return code, {}
        selected = {name: _select(sources, answers, codes) for name, sources in self._quantities.items()}
        remaining = {name: sources for name, (_, sources) in selected.items() if sources}
        if remaining != self._quantities:
            self._narrow(remaining)
        return codes.success, {name: value for name, (value, _) in selected.items() if value is not None}

    def _narrow(self, quantities: Quantities) -> None:
        self._quantities, self._template = quantities, _template(quantities)


def _template(quantities: Quantities) -> bytes:
    """Input of the call, with each field and scope once."""
    keys = dict.fromkeys(
        (source.field, scope) for sources in quantities.values() for source in sources for scope in source.scopes
    )
    return b"".join(_FIELD.pack(field, scope, 0, 0, 0, _UNANSWERED, b"") for field, scope in keys)


def _parse_answers(array: ctypes.Array[ctypes.c_char]) -> dict[_Key, _Answer]:
    answers: dict[_Key, _Answer] = {}
    for field, scope, _, _, kind, code, raw in _FIELD.iter_unpack(array):
        value = float(_VALUE_FORMATS[kind].unpack(raw)[0]) if code == 0 and kind < len(_VALUE_FORMATS) else None
        answers[field, scope] = (code, value, WRAPS[kind] if value is not None else None)
    return answers


def _select(
    sources: Iterable[FieldSource], answers: Mapping[_Key, _Answer], codes: ReturnCodes
) -> tuple[FieldValue | Reason | None, tuple[FieldSource, ...]]:
    """Value of a quantity, and the sources still to be requested for it.

    The value is the first non-zero one, else the first one, else the first failure reason.
    """
    zero: FieldValue | None = None
    reason: Reason | None = None
    remaining: list[FieldSource] = []
    answered: set[int] = set()
    for source in sources:
        value = _combine_scopes(source, answers, codes)
        if value is None:
            continue
        if source.field not in answered:
            remaining.append(source)
        if not isinstance(value, FieldValue):
            reason = reason or value
        elif value.value:
            return value, (source,)
        else:
            zero = zero or value
            answered.add(source.field)
    return zero or reason, tuple(remaining)


def _combine_scopes(
    source: FieldSource, answers: Mapping[_Key, _Answer], codes: ReturnCodes
) -> FieldValue | Reason | None:
    """Sum or largest of the supported scopes. A failure of one fails all: a partial sum would look like a reset."""
    total, wraps, has_value = 0.0, None, False
    for scope in source.scopes:
        code, value, scope_wraps = answers.get((source.field, scope), _MISSING)
        if code in codes.unsupported or code == codes.invalid_argument:
            continue
        if value is None or not value >= 0.0:
            return codes.reason(code) if code else "driver"
        total = total + value if source.decode is None else max(total, source.decode(value))
        has_value = True
        wraps = scope_wraps / source.divisor if scope_wraps and len(source.scopes) == 1 else None
    return FieldValue(total / source.divisor, wraps) if has_value else None
