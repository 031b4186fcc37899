"""Many values in one call: nvmlDeviceGetFieldValues, and which fields a device turns out to have.

Each value comes with its own return code and type. Field ids and units: nvml.h, NVML_FI_*. Numbers stand here rather
than nvidia-ml-py's names, because older releases of it lack some.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_exporter.model.device import Reason
from foreshock_exporter.nvml.errors import Codes
from foreshock_exporter.nvml.samples import FORMATS, WRAPS, Function

ALL_LINKS_SCOPE = 0xFFFFFFFF
"""The scope of an NVLink field that is the sum over the links."""

_FIELD = struct.Struct("=IIqqII8s")
"""nvmlFieldValue_t: field, scope, time, latency, value type, return code, value."""
_UNANSWERED = 999
"""NVML_ERROR_UNKNOWN, until the driver has written another code."""
_VALUES = tuple(struct.Struct(f"={value}") for value in FORMATS)


@dataclass(frozen=True, slots=True)
class FieldSource:
    """A field that gives a quantity: the sum over `scopes`, in parts of which `per` are one base unit."""

    field: int
    per: float = 1.0
    scopes: tuple[int, ...] = (0,)


class FieldValue(NamedTuple):
    """A quantity in base units, and the value at which it wraps where that is known."""

    value: float
    wraps: float | None


Quantities = Mapping[str, tuple[FieldSource, ...]]
"""For each quantity the fields that may give it, best first."""
_Key = tuple[int, int]
_Answer = tuple[int, float | None, float | None]
"""Return code, value and where it wraps, both None unless the code is success."""
_MISSING: _Answer = (_UNANSWERED, None, None)


class FieldQuery:
    """What is asked of one device, less with every answer.

    Left out is what the device does not have. Of two fields that may give a quantity the first is kept that has given
    something other than 0: some drivers answer 0 for ever to the field of another generation. Until then both are
    asked for, and a switch from the one's 0 to the other's first value is no jump.
    """

    def __init__(self, wanted: Quantities) -> None:
        self._want(dict(wanted))

    def ask(self, function: Function, handle: object, codes: Codes) -> tuple[int, dict[str, FieldValue | Reason]]:
        """One call of nvmlDeviceGetFieldValues: a code, and if it is success what was measured or why it was not.

        A quantity that the device does not have is missing. The code is that of a field where that says that the GPU
        or the driver went away.
        """
        if not self._template:
            return codes.success, {}
        array = ctypes.create_string_buffer(self._template, len(self._template))
        code = function(handle, len(self._template) // _FIELD.size, array)
        if code in codes.unsupported:
            self._want({})
            return codes.success, {}
        if code != codes.success:
            return code, {}
        answers = _answers(array)
        for code in {code for code, _, _ in answers.values() if code}:
            if code in codes.gone or codes.reason(code) == "lost":
                return code, {}
        return codes.success, self._said(answers, codes)

    def _want(self, wanted: dict[str, tuple[FieldSource, ...]]) -> None:
        self._wanted = wanted
        self._template = _template(wanted)
        self._settled = {
            name: (sources[0].field, sources[0].scopes[0], sources[0].per)
            for name, sources in wanted.items()
            if len(sources) == 1 and len(sources[0].scopes) == 1
        }

    def _said(self, answers: Mapping[_Key, _Answer], codes: Codes) -> dict[str, FieldValue | Reason]:
        """What the answers say. Most quantities are settled on one field, from which there is nothing left to learn."""
        said: dict[str, FieldValue | Reason] = {}
        unsettled: dict[str, tuple[FieldSource, ...]] = {}
        for name, sources in self._wanted.items():
            if (settled := self._settled.get(name)) is not None:
                field, scope, per = settled
                _, value, wraps = answers.get((field, scope), _MISSING)
                if value is not None and value >= 0.0:
                    said[name] = FieldValue(value / per, wraps / per if wraps else None)
                    continue
            unsettled[name] = sources
            if (quantity := _quantity(sources, answers, codes)) is not None:
                said[name] = quantity
        self._learn(unsettled, answers, codes)
        return said

    def _learn(
        self, unsettled: Mapping[str, tuple[FieldSource, ...]], answers: Mapping[_Key, _Answer], codes: Codes
    ) -> None:
        left = {name: _left(sources, answers, codes) for name, sources in unsettled.items()}
        if left != unsettled:
            self._want({name: sources for name, sources in {**self._wanted, **left}.items() if sources})


def _template(wanted: Quantities) -> bytes:
    """What is handed to the driver: each field and scope once."""
    keys = dict.fromkeys(
        (source.field, scope) for sources in wanted.values() for source in sources for scope in source.scopes
    )
    return b"".join(_FIELD.pack(field, scope, 0, 0, 0, _UNANSWERED, b"") for field, scope in keys)


def _answers(array: ctypes.Array[ctypes.c_char]) -> dict[_Key, _Answer]:
    answers: dict[_Key, _Answer] = {}
    for field, scope, _, _, kind, code, raw in _FIELD.iter_unpack(array):
        value = float(_VALUES[kind].unpack(raw)[0]) if code == 0 and kind < len(_VALUES) else None
        answers[field, scope] = (code, value, WRAPS[kind] if value is not None else None)
    return answers


def _quantity(
    sources: Iterable[FieldSource], answers: Mapping[_Key, _Answer], codes: Codes
) -> FieldValue | Reason | None:
    """The first of its sources that gives something other than 0, else the first that answers, else why none does."""
    zero: FieldValue | None = None
    reason: Reason | None = None
    for source in sources:
        said = _sum(source, answers, codes)
        if isinstance(said, FieldValue):
            if said.value:
                return said
            zero = zero or said
        else:
            reason = reason or said
    return zero or reason


def _sum(source: FieldSource, answers: Mapping[_Key, _Answer], codes: Codes) -> FieldValue | Reason | None:
    """Over the scopes that the device has; none if one of them failed, because a part would look like a reset."""
    total, wraps, found = 0.0, None, False
    for scope in source.scopes:
        code, value, wraps_at = answers.get((source.field, scope), _MISSING)
        if code in codes.unsupported or code == codes.invalid_argument:
            continue
        if value is None or not value >= 0.0:
            return codes.reason(code) if code else "driver"
        total, found = total + value, True
        wraps = wraps_at / source.per if wraps_at and len(source.scopes) == 1 else None
    return FieldValue(total / source.per, wraps) if found else None


def _left(sources: tuple[FieldSource, ...], answers: Mapping[_Key, _Answer], codes: Codes) -> tuple[FieldSource, ...]:
    """The sources still to be asked for a quantity."""
    left: list[FieldSource] = []
    answered: set[int] = set()
    for source in sources:
        said = _sum(source, answers, codes)
        if said is None or source.field in answered:
            continue
        if isinstance(said, FieldValue):
            if said.value:
                return (source,)
            answered.add(source.field)
        left.append(source)
    return tuple(left)
