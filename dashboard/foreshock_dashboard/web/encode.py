"""JSON bytes of a snapshot's payloads, made once a tick however many read them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import orjson

from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.snapshot import Snapshot


def encode(payload: Json) -> bytes:
    """JSON as UTF-8."""
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)


def stamped(body: bytes, time: float) -> bytes:
    """An encoded object with the hub's time put in front, since the rest of it is kept from tick to tick."""
    head = b'{"time":' + orjson.dumps(round(time, 3))
    return head + (b"}" if body == b"{}" else b"," + body[1:])


class PerTick:
    """Keeps what was made of a snapshot until another one comes. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: Snapshot | None = None
        self._made: dict[str, bytes] = {}

    def get(self, snapshot: Snapshot, name: str, make: Callable[[], Json]) -> bytes:
        """The encoded payload `name` of this snapshot, made by `make` unless it was made before."""
        with self._lock:
            if self._of is not snapshot:
                self._of, self._made = snapshot, {}
            body = self._made.get(name)
        if body is None:
            body = encode(make())
            with self._lock:
                if self._of is snapshot:
                    self._made[name] = body
        return body
