"""What a hub acknowledged over a socket survives `kill -9` at any moment, once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
from tests.hub.process import HubProcess
from tests.hub.sending import EXPORT, PROTOBUF, channel, request

from foreshock_dashboard.store import Store

SPANS = 20
"""In each batch, which is a separate trace."""
Serve = Callable[..., HubProcess]


class Senders:
    """Threads that send batches over both protocols until the hub is gone. `sent` and `acknowledged` hold trace ids."""

    def __init__(self, hub: HubProcess) -> None:
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self._hub = hub
        self._threads = [threading.Thread(target=each) for each in (self._post, self._post, self._export, self._export)]

    def kill_after(self, batches: int, seconds: float) -> None:
        """Send, and end the hub some time after it has acknowledged so many batches."""
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < batches and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(seconds)
        self._hub.end(signal.SIGKILL)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _batch(self) -> tuple[str, bytes]:
        trace = os.urandom(16)
        self.sent.append(trace.hex())
        return trace.hex(), request(SPANS, trace).SerializeToString()

    def _post(self) -> None:
        with httpx.Client(trust_env=False, timeout=60, headers={"content-type": PROTOBUF}) as client:
            while True:
                trace, body = self._batch()
                try:
                    answer = client.post(self._hub.otlp, content=body)
                except httpx.TransportError:
                    return
                if answer.status_code == httpx.codes.OK:
                    self.acknowledged.append(trace)

    def _export(self) -> None:
        with channel(self._hub) as made:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(EXPORT)
            while True:
                trace, body = self._batch()
                try:
                    call(body, timeout=60)
                except grpc.RpcError:
                    return
                self.acknowledged.append(trace)


def present(hub: HubProcess, traces: list[str]) -> set[str]:
    """Those of the traces that the hub has; each of them whole, with each span once."""
    found = set()
    with httpx.Client(base_url=hub.url, trust_env=False, timeout=60) as client:
        for trace in traces:
            answer = client.get(f"/api/traces/{trace}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                continue
            assert answer.status_code == httpx.codes.OK, f"{answer.text}\n{hub.output}"
            ids = [int(span["span_id"], 16) for span in answer.json()["spans"]]
            assert sorted(ids) == list(range(1, SPANS + 1)), "a batch is torn, or spans are doubled"
            found.add(trace)
    return found


def kills(count: int, serve: Serve, store: Path) -> None:
    """Each hub finds what the one before it acknowledged, and is then killed itself."""
    chance = random.Random(count)
    kept: set[str] = set()
    hub = serve(store=store)
    for _ in range(count):
        senders = Senders(hub)
        senders.kill_after(chance.randint(1, 150), chance.random() * 0.1)
        assert senders.acknowledged
        hub = serve(store=store)
        here = present(hub, senders.sent)
        assert set(senders.acknowledged) <= here, "an acknowledged batch is lost"
        kept |= here
        assert hub.metric("foreshock_store_corruptions_total") == 0
    hub.end()
    opened = Store.open(store, now=time.time)
    try:
        assert {trace for trace in kept if len(opened.get(trace)) == SPANS} == kept, "a batch was lost later"
        assert opened.stats().spans == SPANS * len(kept), "a batch is stored twice"
    finally:
        opened.close()


def test_nothing_that_a_hub_acknowledged_is_lost_or_doubled_by_three_kills(serve: Serve, tmp_path: Path) -> None:
    """Over HTTP and gRPC, from four senders at once."""
    kills(3, serve, tmp_path / "store")


@pytest.mark.soak
def test_nothing_that_a_hub_acknowledged_is_lost_or_doubled_by_a_hundred_kills(serve: Serve, tmp_path: Path) -> None:
    """The same for longer."""
    kills(100, serve, tmp_path / "store")
