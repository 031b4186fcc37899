"""Authentication: every address requires it, except the two health checks."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from threading import Event
from typing import Literal

import bcrypt
import httpx
import pytest
from fastapi import FastAPI
from tests.web.caller import Caller, basic
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.web.app import PAGES, create_app
from foreshock_dashboard.web.http.authentication import (
    MAX_CLIENT_CHECKS,
    MAX_CONCURRENT_CHECKS,
    MAX_WAITING_CHECKS,
    Access,
)
from foreshock_dashboard.web.shell.shell import shell
from foreshock_exporter.web.auth import PasswordChecker

pytestmark = pytest.mark.slow

TOKEN = "correct-horse-battery-staple"  # noqa: S105
ADDRESSES = (
    "/", "/traces", "/nowhere", "/api", "/api/now", "/api/nothing", "/api/openapi.json", "/metrics", "/theme.css",
    "/assets/base.js", "/_dash-layout", "/_dash-dependencies", "/healthz/", "//healthz",
)  # fmt: skip


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Users:
    """One, with the cheapest hash there is, whose guessers need not rest."""
    file = tmp_path_factory.mktemp("users") / "users"
    file.write_text(f"# who looks\nada:{bcrypt.hashpw(b'lovelace', bcrypt.gensalt(4)).decode()}\n\n")
    return Users(file, PasswordChecker(sleep=lambda _: None))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """One."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text(f"{token_line('ci', TOKEN)}\n")
    return Tokens(file)


@cache
def app_of(access: Access) -> FastAPI:
    """A hub's app that asks."""
    return create_app(FakeHub(SCENES["healthy"]()), version="0", access=access)


def ask(
    app: FastAPI, path: str, headers: Mapping[str, str] | None = None, peer: str = "127.0.0.1", method: str = "GET"
) -> httpx.Response:
    """A request from an address."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asked())


def test_every_address_asks_but_the_two_of_health(users: Users, tokens: Tokens) -> None:
    """Pages, figures, scripts, API, metrics and what does not exist; a right answer opens all of them."""
    app = app_of(Access(tokens, users))
    for path in ADDRESSES:
        refused = ask(app, path)
        assert (path, refused.status_code) == (path, 401)
        assert refused.headers.get_list("www-authenticate") == ['Basic realm="foreshock", charset="UTF-8"', "Bearer"]
        assert "authentication required" in refused.json()["error"]
        assert refused.headers["x-content-type-options"] == "nosniff"
        for right in (f"Bearer {TOKEN}", basic("ada", "lovelace")):
            assert ask(app, path, {"authorization": right}).status_code != 401
    assert ask(app, "/_dash-update-component", method="POST").status_code == 401
    assert [ask(app, path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_the_reason_of_not_being_ready_needs_credentials(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    """The reason names paths and addresses. A hub without authentication shows it, since its Status page does."""
    hub = FakeHub(SCENES["healthy"]())
    hub.not_ready = "store /var/lib/foreshock: the folder was removed"
    for access, shown in ((Access(), True), (Access(basic=users), False)):
        caplog.clear()
        answers = [ask(create_app(hub, version="0", access=access), "/readyz") for _ in range(2)]
        assert [(answer.status_code, hub.not_ready in answer.text) for answer in answers] == [(503, shown)] * 2
        assert [record.message for record in caplog.records] == [f"not ready: {hub.not_ready}"] * 2


def test_the_audit_log_has_downloads_and_not_what_is_only_shown(tokens: Tokens) -> None:
    audit = AuditLog()
    app = create_app(FakeHub(SCENES["healthy"]()), version="0", access=Access(tokens, audit=audit))
    for path in ("/api/now", "/api/csv/gpus", "/api/now"):
        assert ask(app, path, {"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert [event["action"] for event in reversed(audit.recent())] == ["sign_in", "download"]


def test_a_refusal_names_the_way_in(users: Users, tokens: Tokens) -> None:
    """Of the methods that are configured."""
    proxy = Access(header="X-User", proxies=PROXIES)
    for access, status, way in (
        (Access(tokens=tokens), 401, "send a bearer token"),
        (Access(basic=users), 401, "send a bearer token or a username and password"),
        (proxy, 403, "open the address of the authenticating proxy"),
    ):
        answer = ask(app_of(access), "/api/now")
        assert (answer.status_code, way in answer.json()["error"]) == (status, True)


@pytest.mark.parametrize(
    "given",
    [
        "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Digest x",
        basic("ada", "Lovelace"), basic("eve", "lovelace"), basic("", ""), basic("ada", ""), "Basic !!!", "Basic ",
        "Basic " + base64.b64encode(b"no colon").decode(), "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(users: Users, tokens: Tokens, given: str) -> None:
    """However it is wrong, the answer is the same."""
    answer = ask(app_of(Access(tokens, users)), "/api/now", {"authorization": given})
    assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True)


PROXIES = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.0.0.7", {"x-forwarded-user": "ada"}, 200),
        ("::ffff:10.0.0.7", {"x-forwarded-user": "ada"}, 200),
        ("2001:db8::5", {"X-Forwarded-User": "ada"}, 200),
        ("10.0.0.7", {}, 403),
        ("10.0.0.7", {"x-forwarded-user": " "}, 403),
        ("10.0.1.7", {"x-forwarded-user": "ada"}, 403),
        ("127.0.0.1", {"x-forwarded-user": "ada", "x-forwarded-for": "10.0.0.7"}, 403),
        ("10.0.0.7", {"x-user": "ada"}, 403),
        ("", {"x-forwarded-user": "ada"}, 403),
    ],
)
def test_a_header_counts_from_a_proxy_alone(peer: str, headers: dict[str, str], status: int) -> None:
    """Any client can write one, and say that it was forwarded."""
    app = app_of(Access(header="X-Forwarded-User", proxies=PROXIES))
    assert ask(app, "/api/now", headers, peer).status_code == status


def test_a_hub_without_authentication_is_open() -> None:
    """As on loopback."""
    assert ask(app_of(Access()), "/api/now").status_code == 200


def test_too_many_passwords_at_once_are_put_off() -> None:
    """Guessers wait for each other; a known client does not wait for them."""

    class Slow(Users):
        def __init__(self) -> None:
            """Without a file."""

        def known(self, authorization: str) -> bool:
            return authorization == basic("ada", "lovelace")

        def check(self, authorization: str, address: str) -> Literal["busy"]:
            del authorization, address
            return "busy"

    app = app_of(Access(basic=Slow()))
    put_off = ask(app, "/api/now", {"authorization": basic("eve", "x")})
    assert (put_off.status_code, put_off.headers["retry-after"]) == (503, "5")
    assert ask(app, "/api/now", {"authorization": basic("ada", "lovelace")}).status_code == 200


def test_guessers_at_one_address_keep_no_other_address_out(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are places, all in a slow check: another address signs in meanwhile."""
    go_on = Event()

    def check(authorization: str, address: str) -> Literal["right", "wrong"]:
        if address != "127.0.0.2":
            assert go_on.wait(30)
        return "right" if authorization == basic("ada", "lovelace") else "wrong"

    monkeypatch.setattr(users, "check", check)
    monkeypatch.setattr(users, "known", lambda _: False)

    async def request(client: httpx.AsyncClient, password: str) -> int:
        return (await client.get("/api/now", headers={"authorization": basic("ada", password)})).status_code

    async def guessed() -> tuple[int, list[int]]:
        app = app_of(Access(basic=users, requests_per_minute=6000))
        places = MAX_CONCURRENT_CHECKS + MAX_WAITING_CHECKS
        async with AsyncExitStack() as stack:
            guesser, user = [
                await stack.enter_async_context(
                    httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 1)), base_url="http://127.0.0.1")
                )
                for peer in ("127.0.0.9", "127.0.0.2")
            ]
            guesses = [asyncio.create_task(request(guesser, f"{number}")) for number in range(places)]
            await asyncio.wait(guesses, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            try:
                found = await asyncio.wait_for(request(user, "lovelace"), 10)
            finally:
                go_on.set()
            return found, await asyncio.gather(*guesses)

    found, refused = asyncio.run(guessed())
    assert found == 200
    assert sorted(set(refused)) == [401, 503]
    assert refused.count(401) == MAX_CLIENT_CHECKS


HASH = "$2b$04$" + "a" * 53


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no users. Add one per line with htpasswd -nB USER"),
        ("ada", "line 1 is not user:bcrypt"),
        ("# who\nada:lovelace", "line 2 is not user:bcrypt"),
        (f":{HASH}", "line 1 is not user:bcrypt"),
        (f"ada:{HASH}\nada:{HASH}", "line 2 repeats user 'ada'"),
        (f"ada:{HASH.replace('$04$', '$17$')}", "line 1 has bcrypt cost 17"),
    ],
)
def test_a_file_of_users_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    """With the line and the remedy."""
    file = tmp_path / "users"
    file.write_text(text)
    with pytest.raises(FileError) as caught:
        Users(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_users_change_with_their_file(tmp_path: Path) -> None:
    """A user who was taken out is refused at once; a file that is broken changes nothing."""

    def hashed(password: bytes) -> str:
        return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()

    file = tmp_path / "users"
    file.write_text(f"ada:{hashed(b'one')}\neve:{hashed(b'two')}\n")
    users = Users(file, PasswordChecker(sleep=lambda _: None))
    assert users.check(basic("eve", "two"), "a") == "right"
    assert users.known(basic("eve", "two"))
    file.write_text(f"ada:{hashed(b'three')}\n")
    assert not users.known(basic("eve", "two"))
    assert [users.check(basic(*who), "a") for who in (("eve", "two"), ("ada", "one"), ("ada", "three"))] == [
        "wrong",
        "wrong",
        "right",
    ]
    file.write_text("nonsense")
    assert users.check(basic("ada", "three"), "a") == "right"


def test_an_unauthenticated_client_gets_no_cached_answer_of_another(tokens: Tokens) -> None:
    """Who asks is looked at first, each time; and for which host."""
    caller = Caller(app_of(Access(tokens)))
    for _ in range(2):
        assert caller.get("/api/now", {"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert caller.get("/api/now").status_code == 401
    assert caller.get("/api/now", {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}).status_code == 421
    result = caller.get("/api/now", {"Authorization": f"Bearer {TOKEN}"}).headers
    assert "default-src 'self'" in result["content-security-policy"]


@pytest.mark.parametrize("sign_out", ["", "/logout"])
def test_a_session_can_be_ended_from_every_page(sign_out: str) -> None:
    """Without a session there is nothing to end."""
    assert ("Sign out" in repr(shell(PAGES, sign_out=sign_out))) is bool(sign_out)
