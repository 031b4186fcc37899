"""A span's attributes that are still bytes, until somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.model.otlp.picker import Picker
from foreshock_dashboard.model.otlp.values import attributes_of
from foreshock_dashboard.model.span import Attributes, AttributeValue


class Encoded(Mapping[str, AttributeValue]):
    """A span's attributes: those that its picker wants are at hand, all others are read when one is asked for."""

    __slots__ = ("_all", "_picker", "_raw", "_some", "_wanted")

    def __init__(self, raw: bytes, some: dict[str, AttributeValue], picker: Picker) -> None:
        self._raw, self._some, self._picker = raw, some, picker
        self._wanted = picker.keys
        self._all: dict[str, AttributeValue] | None = None

    def some(self, keys: frozenset[str]) -> Mapping[str, AttributeValue]:
        """At least those of `keys` that there are, as a plain dict."""
        if self._wanted is self._picker.keys and keys in self._picker.covered:
            return self._some
        if keys <= self._wanted:
            if len(self._picker.covered) < Picker.MAX_KEYS:
                self._picker.covered.add(keys)
            return self._some
        if self._picker.learns:
            self._picker.add(keys)
        return self._whole()

    def _whole(self) -> dict[str, AttributeValue]:
        if self._all is None:
            self._all = attributes_of(OtlpSpan.FromString(self._raw).attributes)
        return self._all

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        """As of any mapping."""
        if key in self._wanted:
            return self._some.get(key, default)
        if self._picker.learns and key not in self._picker.keys:
            self._picker.add((key,))
        return self._whole().get(key, default)

    def __getitem__(self, key: str) -> AttributeValue:
        return self._some[key] if key in self._wanted else self._whole()[key]

    def __contains__(self, key: object) -> bool:
        return key in (self._some if key in self._wanted else self._whole())

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())


def some(attributes: Attributes, keys: frozenset[str]) -> Mapping[str, AttributeValue]:
    """At least those of `keys` that are among the attributes: the fast way to ask for several of one span."""
    return attributes.some(keys) if type(attributes) is Encoded else attributes
