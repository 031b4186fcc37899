"""Concurrent requests share one reading; a later request reads again."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass, field

import httpx
import pytest
from tests.web.worlds import SCENES, FakeHub, FakeTraces, span

from foreshock_dashboard.common.single_flight_cache import SingleFlight
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.web.app import create_app

TRACES = [f"{number:032x}" for number in (1, 2)]


@dataclass
class Reading:
    """Readings that wait to be let through, and how many were begun."""

    begun: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> int:
        """Which one this was."""
        self.begun += 1
        mine = self.begun
        await self.gate.wait()
        return mine


def test_those_who_ask_at_once_share_a_reading_and_the_next_has_its_own() -> None:
    """By key."""

    async def play() -> None:
        flights, reading = SingleFlight[int](), Reading()
        asked = [asyncio.create_task(flights.get(key, reading.read)) for key in ("a", "a", "b", "a")]
        await asyncio.sleep(0)
        reading.gate.set()
        assert await asyncio.gather(*asked) == [1, 1, 2, 1]
        assert await flights.get("a", reading.read) == 3

    asyncio.run(play())


def test_a_cancelled_request_does_not_cancel_the_reading_of_others() -> None:
    """A page that is closed was the first to ask."""

    async def play() -> None:
        flights, reading = SingleFlight[int](), Reading()
        first, second = (asyncio.create_task(flights.get("a", reading.read)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        reading.gate.set()
        assert (await second, reading.begun) == (1, 1)

    asyncio.run(play())


def test_a_failure_reaches_all_who_wait_and_the_next_tries_again() -> None:
    """Also where no request waits any more: asyncio complains of none."""
    complaints: list[object] = []

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        flights, gate = SingleFlight[int](), asyncio.Event()

        async def fail() -> int:
            await gate.wait()
            raise SourceError("no answer")

        asked = [asyncio.create_task(flights.get("a", fail)) for _ in range(2)]
        left = asyncio.create_task(flights.get("b", fail))
        await asyncio.sleep(0)
        left.cancel()
        gate.set()
        found = await asyncio.gather(*asked, left, return_exceptions=True)
        assert [type(each) for each in found] == [SourceError, SourceError, asyncio.CancelledError]
        reading = Reading()
        reading.gate.set()
        assert await flights.get("a", reading.read) == 1

    asyncio.run(play())
    gc.collect()
    assert complaints == []


@dataclass
class Counted(FakeTraces):
    """A source that records which traces were read, each once the gate is open."""

    gate: threading.Event = field(default_factory=threading.Event)
    read: list[str] = field(default_factory=list)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """A span."""
        self.read.append(trace_id)
        assert self.gate.wait(60)
        return (span("answer", "gateway", 1, 0, 0.0, 1.0),)


def test_a_trace_whose_link_many_follow_at_once_is_read_once() -> None:
    """A link in an incident's channel; another trace beside it is read for itself."""

    async def play() -> list[httpx.Response]:
        source = Counted()
        app = create_app(FakeHub(SCENES["healthy"](), traces=source), version="0")
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            asked = [asyncio.create_task(client.get(f"/api/traces/{TRACES[at % 2]}")) for at in range(12)]
            while len(source.read) < 2:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
            source.gate.set()
            answers = await asyncio.gather(*asked)
        assert sorted(source.read) == TRACES
        return answers

    answers = asyncio.run(play())
    assert [answer.status_code for answer in answers] == [200] * 12
    assert [answer.json()["trace_id"] for answer in answers] == TRACES * 6
