"""Those attributes of a span that are asked for of every span, read from its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from foreshock_dashboard.model.otlp.values import value_of
from foreshock_dashboard.model.span import AttributeValue


class Picker:
    """Reads those of a span's attributes that are asked for of every span; the rest stays bytes until it is asked for.

    `keys` are read from the start. With `learns`, a key that somebody asks a span for is read at once for later ones:
    so whatever the reader of spans looks at is read in one pass, without a list that both have to agree on.
    """

    MAX_KEYS, MAX_KNOWN, MAX_KNOWN_BYTES, MAX_VALUES = 128, 16_384, 256, 1000

    def __init__(self, keys: Iterable[str] = (), *, learns: bool = False) -> None:
        self.learns = learns
        self.covered: set[frozenset[str]] = set()
        self.keys: frozenset[str] = frozenset()
        self._names: dict[bytes, str] = {}
        self._met: Counter[bytes | None] = Counter()
        # Most attributes of most spans are the same bytes over and over; () stands for one that is not read.
        self._known: dict[bytes, tuple[str, AttributeValue] | tuple[()]] = {}
        self.add(keys)

    def add(self, keys: Iterable[str]) -> None:
        """Read these from now on, too."""
        wanted = self.keys.union(keys)
        if wanted != self.keys and len(wanted) <= self.MAX_KEYS:
            self._names = {key.encode(): key for key in wanted}
            self._known, self._met = {}, Counter()
            self.keys = wanted

    def pick(self, pairs: Iterable[bytes]) -> dict[str, AttributeValue]:
        """The values of the wanted keys among encoded KeyValues; the first of a key holds."""
        found: dict[str, AttributeValue] = {}
        known = self._known
        for pair in pairs:
            hit = known.get(pair)
            if hit is None:
                hit = self._read(pair, known)
            if hit and hit[0] not in found:
                found[hit[0]] = hit[1]
        return found

    def _read(self, pair: bytes, known: dict[bytes, Any]) -> tuple[str, AttributeValue] | tuple[()]:
        name = pair[2 : 2 + pair[1]] if len(pair) > 1 and pair[0] == 10 and pair[1] < 128 else None
        hit: tuple[str, AttributeValue] | tuple[()] = ()
        if name is None:  # it does not begin with its key, or that is a long one
            message = KeyValue.FromString(pair)
            if message.key in self.keys:
                hit = message.key, value_of(message.value)
        elif (key := self._names.get(name)) is not None:
            hit = key, _value_of(pair, 2 + len(name))
        met = self._met.get(name, 0)
        if met < self.MAX_VALUES and len(pair) <= self.MAX_KNOWN_BYTES:  # a request's id would come once each
            if len(known) >= self.MAX_KNOWN:
                known.clear()
                self._met.clear()
            known[pair], self._met[name] = hit, met + 1
        return hit


def _value_of(pair: bytes, at: int) -> AttributeValue:
    """The value of an encoded KeyValue whose key ends at `at`: a short text by hand, for most are, else by protobuf."""
    head = pair[at : at + 4]
    if len(head) == 4 and head[0] == 18 and head[2] == 10 and head[3] < 128 and len(pair) == at + 4 + head[3]:
        return pair[at + 4 :].decode()
    return value_of(KeyValue.FromString(pair).value)
