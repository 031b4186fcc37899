"""What the newest tick was asked once is answered again without the app, the same in all but the hub's time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.requests import Request
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.answer_cache import LARGEST, MOST, Given, Told
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.json_cache import Body


def asked(caller: Caller) -> list[str]:
    """The addresses that the app itself is asked for from now on."""
    seen: list[str] = []

    @caller.app.middleware("http")
    async def counted(request: Request, call_next):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        seen.append(request.url.path)
        return await call_next(request)

    innermost = caller.app.user_middleware.pop(0)  # what is added last would see all
    caller.app.user_middleware.append(innermost)
    return seen


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_the_app_is_asked_once_a_tick_for_each_address(caller: Caller, hub: FakeHub, encoding: str) -> None:
    """With the same body and the same headers."""
    seen, path = asked(caller), "/api/pages/cascade?from=now-1h"
    first, second = (caller.get(path, {"Accept-Encoding": encoding}) for _ in range(2))
    assert (second.content, dict(second.headers)) == (first.content, dict(first.headers))
    hub.time += 7
    assert caller.get(path).json() == first.json() | {"time": hub.time}
    assert caller.get(path, {"If-None-Match": first.headers["etag"]}).status_code == 304
    assert seen == ["/api/pages/cascade"]
    caller.get("/api/pages/cascade?from=now-2h")
    assert len(seen) == 2
    hub.snapshot = replace(hub.snapshot, seq=hub.snapshot.seq + 1)
    assert caller.get(path, {"If-None-Match": first.headers["etag"]}).json()["seq"] == hub.snapshot.seq
    assert len(seen) == 3


@pytest.mark.parametrize("path", [f"/api/now?at={NOW + 60}", f"/api/now?at={NOW - 60}", "/api/now?nonsense=1"])
def test_what_is_of_the_past_or_refused_is_asked_each_time(caller: Caller, path: str) -> None:
    """A time that is still to come is past a minute later."""
    seen = asked(caller)
    assert caller.get(path).status_code == caller.get(path).status_code
    assert len(seen) == 2


def test_whoever_may_not_look_gets_nothing_that_another_was_told() -> None:
    """Who asks is looked at first, each time; and for which host."""
    app = create_app(
        FakeHub(SCENES["calm"]()), version="0", access=Access(bearer=lambda given: given == "Bearer right")
    )
    caller = Caller(app)
    for _ in range(2):
        assert caller.get("/api/now", {"Authorization": "Bearer right"}).status_code == 200
    assert caller.get("/api/now").status_code == 401
    assert caller.get("/api/now", {"Authorization": "Bearer right", "Host": "evil.example"}).status_code == 421
    told = caller.get("/api/now", {"Authorization": "Bearer right"}).headers
    assert "default-src 'self'" in told["content-security-policy"]


def test_many_addresses_and_large_answers_take_no_room(hub: FakeHub) -> None:
    """Anybody may write parameters: the oldest are given up, and what is large is not kept."""
    given = Given(hub)
    for i in range(MOST + 5):
        given.keep(hub.snapshot, ("/api/now", str(i).encode()), Told(Body(b"{}"), str(i)))
    given.keep(hub.snapshot, ("/api/gpus", b""), Told(Body(LARGEST + 1), "large"))
    assert given.to(("/api/gpus", b"")) is None
    kept = [i for i in range(MOST + 5) if given.to(("/api/now", str(i).encode()))]
    assert kept == list(range(5, MOST + 5))
