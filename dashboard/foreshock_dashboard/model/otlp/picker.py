"""Those attributes of a span that are asked for of every span of its kind, read from its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.model.otlp.values import value_of
from foreshock_dashboard.model.span import AttributeValue

MAX_KNOWN, MAX_KNOWN_BYTES, MAX_VALUES = 16_384, 256, 1000
"""Attributes that are remembered as read, bytes of one, and values of one key: a request's id would come once each."""

_Entry = tuple[str, AttributeValue]
_OTHER: _Entry = ("", None)


class Picker(dict[bytes, _Entry]):
    """Reads the attributes `keys`; most attributes of most spans are the same bytes over and over."""

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__()
        self._keys = {key.encode(): key for key in keys}
        self._about: dict[bytes, _About] = {}

    def pick(self, pairs: Sequence[bytes]) -> dict[str, AttributeValue]:
        """The values among encoded KeyValues; the first of a key holds. What is not asked for is "" there."""
        return dict(map(self.__getitem__, pairs[::-1]))

    def __missing__(self, pair: bytes) -> _Entry:
        # Nearly every attribute begins with its key, and that is short.
        short = len(pair) > 1 and pair[0] == 10 and pair[1] < 128
        name = pair[2 : 2 + pair[1]] if short else KeyValue.FromString(pair).key.encode()
        about = self._about.get(name)
        if about is None:
            about = self._about[name] = _About(self._keys.get(name))
        entry = _OTHER if about.key is None else (about.key, _value(pair, 2 + len(name)))
        if about.values < MAX_VALUES and len(pair) <= MAX_KNOWN_BYTES:
            about.values += 1
            self[pair] = entry
        if len(self) > MAX_KNOWN or len(self._about) > MAX_KNOWN:
            self.clear()
            self._about.clear()
        return entry


class _About:
    """A key, if it is asked for, and how many values of it are remembered."""

    __slots__ = ("key", "values")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.values = 0


def _value(pair: bytes, at: int) -> AttributeValue:
    """The value of an encoded KeyValue: if it is a short text behind a key that ends at `at`, by hand, for most are."""
    head = pair[at : at + 4]
    if len(head) == 4 and head[0] == 18 and head[2] == 10 and head[3] < 128 and len(pair) == at + 4 + head[3]:
        return pair[at + 4 :].decode()
    return value_of(KeyValue.FromString(pair).value)


class Pickers:
    """Reads what is asked for of spans by their kind.

    Args:
        all_: the keys that are asked for of every span.
        calls: those that are of CLIENT and PRODUCER spans as well.
    """

    def __init__(self, all_: Iterable[str], calls: Iterable[str] = ()) -> None:
        self.keys = frozenset(all_)
        self._others, calling = Picker(self.keys), Picker(self.keys.union(calls))
        self._of_kind = {OtlpSpan.SPAN_KIND_CLIENT: calling, OtlpSpan.SPAN_KIND_PRODUCER: calling}

    def of(self, kind: int) -> Picker:
        """What is asked for of spans of a kind, by its number in trace.proto."""
        return self._of_kind.get(kind, self._others)  # type: ignore[call-overload, no-any-return]  # an enum's number
