"""An answer of the newest tick, given again without asking the app: most who look see what others see."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.web.http.json_cache import Body

MOST = 128
"""Addresses of which the answer is kept, the least lately asked for given up first."""
LARGEST = 2**17
"""Bytes of an answer that is kept: larger ones would hold up all who ask, for they are sent from the loop itself."""


class Told(NamedTuple):
    """An answer: its body without the hub's time, and its tag."""

    body: Body
    tag: str


class Given:
    """What was told of the newest tick, by the whole address. Safe to call from several threads."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._of: Snapshot | None = None
        self._told: OrderedDict[tuple[str, bytes], Told] = OrderedDict()

    def keep(self, snapshot: Snapshot, address: tuple[str, bytes], told: Told) -> None:
        """Remember what an address (path and query) was told of a snapshot."""
        if len(told.body) > LARGEST:
            return
        with self._lock:
            if self._of is not snapshot:
                self._of, self._told = snapshot, OrderedDict()
            self._told[address] = told
            if len(self._told) > MOST:
                self._told.popitem(last=False)

    def to(self, address: tuple[str, bytes]) -> Told | None:
        """What it was told; None where it has to be asked, since it was not, or the tick is over."""
        with self._lock:
            if self._of is not self._hub.snapshot:
                return None
            if found := self._told.get(address):
                self._told.move_to_end(address)
            return found


class Again:
    """Answers what is known already; passes everything else on. send: makes a response for whoever sent these headers.

    It stands behind those that look at who asks.
    """

    def __init__(self, app: ASGIApp, given: Given, send: Callable[[Headers, Told], Response]) -> None:
        self._app, self._given, self._send = app, given, send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        known = None
        if scope["type"] == "http" and scope["method"] == "GET":
            known = self._given.to((scope["path"], scope["query_string"]))
        await (self._send(Headers(scope=scope), known) if known else self._app)(scope, receive, send)
