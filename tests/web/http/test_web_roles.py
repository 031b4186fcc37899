"""Roles on every route, the rate limit of a credential, and what the audit log has of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.rate_limit import MIN_BURST_REQUESTS
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")
OPEN = {"/healthz", "/readyz"}
ADMIN = {"/api/audit"}
READING_POST = "/_dash-update-component"


def app_of(tmp_path: Path, requests_per_minute: int = 1_000_000) -> tuple[FastAPI, AuditLog]:
    """An app with a token for each role, which is named after it."""
    file = tmp_path / "tokens"
    file.write_text("".join(f"{token_line(role.name, secret(role))}\n" for role in Role))
    audit = AuditLog()
    roles = Roles(tuple((role.name, role) for role in Role))
    access = Access(Tokens(file), roles=roles, requests_per_minute=requests_per_minute, audit=audit)
    return create_app(FakeHub(SCENES["healthy"]()), version="0", access=access), audit


def secret(role: Role) -> str:
    """The token of a role."""
    return f"token-of-{role.name}"


def paths_of(app: FastAPI) -> set[str]:
    """The path of every route, with `x` for each parameter: those of the API and all others."""
    found = {*app.openapi()["paths"], *_paths(app.routes)}
    return {"/".join("x" if "{" in part else part for part in path.split("/")) for path in found}


def _paths(routes: Sequence[BaseRoute]) -> Iterator[str]:
    for route in routes:
        path = getattr(route, "path", "")
        inner = getattr(route, "routes", None)
        if inner:
            yield from _paths(inner)
        elif path:
            yield path


def needed(method: str, path: str) -> Role:
    """The role that a route needs, as docs/guides/security.md says."""
    if path in ADMIN:
        return Role.ADMIN
    return Role.VIEWER if method in ("GET", "HEAD") or path == READING_POST else Role.RESPONDER


async def statuses(app: FastAPI, requests: list[tuple[str, str, Role]]) -> list[int]:
    """The status of each request by the token of a role."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return [
            (await client.request(method, path, headers={"authorization": f"Bearer {secret(role)}"})).status_code
            for method, path, role in requests
        ]


def test_every_route_needs_its_role(tmp_path: Path) -> None:
    """All routes x methods x roles: 403 below the role that the table has for it, and never at it."""
    app, _ = app_of(tmp_path)
    routes = sorted(paths_of(app) | {"/", "/api/audit/", "//api/audit", "/nowhere"})
    assert len(routes) > 40
    assert {"/api/audit", "/metrics", "/api/explain", READING_POST, "/x"} <= set(routes)
    requests = [
        (method, path, role) for path in routes for method in METHODS for role in Role if path not in OPEN
    ]  # fmt: skip
    refused = {
        request for request, status in zip(requests, asyncio.run(statuses(app, requests)), strict=True) if status == 403
    }
    assert refused == {(method, path, role) for method, path, role in requests if role < needed(method, path)}


def test_the_admin_sees_who_was_refused_and_who_downloaded(tmp_path: Path) -> None:
    """Sign-ins and denials once, downloads with their status; and no token."""
    app, audit = app_of(tmp_path)
    requests = [
        ("GET", "/api/now", Role.VIEWER),
        ("GET", "/api/now", Role.VIEWER),
        ("GET", "/api/csv/services", Role.VIEWER),
        ("GET", "/api/audit", Role.VIEWER),
        ("DELETE", "/api/now", Role.VIEWER),
        ("GET", "/api/audit", Role.ADMIN),
    ]
    asyncio.run(statuses(app, requests))
    assert [(e["action"], e["principal"], e["request"], e["status"]) for e in reversed(audit.recent())] == [
        ("sign_in", "VIEWER", "GET /api/now", 200),
        ("download", "VIEWER", "GET /api/csv/services", 200),
        ("denied", "VIEWER", "GET /api/audit", 403),
        ("sign_in", "ADMIN", "GET /api/audit", 200),
        ("download", "ADMIN", "GET /api/audit", 200),
    ]
    assert "token-of" not in str(audit.recent())


def test_the_status_page_has_the_audit_log_for_admins_alone(tmp_path: Path) -> None:
    """Also in time travel: it is always that of now. The hub without authentication has none."""
    app, _ = app_of(tmp_path)

    async def audit_of(app: FastAPI, role: Role) -> list[str] | None:
        headers = {"authorization": f"Bearer {secret(role)}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            events = (await client.get("/api/pages/status", headers=headers)).json()["audit"]
        return None if events is None else [event["principal"] for event in events]

    assert asyncio.run(audit_of(app, Role.VIEWER)) is None
    assert asyncio.run(audit_of(app, Role.RESPONDER)) is None
    assert asyncio.run(audit_of(app, Role.ADMIN)) == ["ADMIN", "RESPONDER", "VIEWER"]
    assert asyncio.run(audit_of(create_app(FakeHub(SCENES["healthy"]()), version="0"), Role.ADMIN)) is None


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Basic !!!", "Basic ZXZlOng="])
def test_a_wrong_credential_is_in_the_audit_log_and_a_missing_one_is_not(tmp_path: Path, authorization: str) -> None:
    """A browser's first request has none."""
    app, audit = app_of(tmp_path)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            first = await client.get("/")
            return [first.status_code, (await client.get("/", headers={"authorization": authorization})).status_code]

    assert asyncio.run(ask()) == [401, 401]
    assert [(event["action"], event["status"]) for event in audit.recent()] == [("sign_in_failed", 401)]


def test_invented_names_of_a_client_are_one_event_a_minute(tmp_path: Path) -> None:
    """An anonymous client cannot fill the audit log, and with it erase what was there."""
    app, audit = app_of(tmp_path)

    async def guess() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            for number in range(50):
                await client.get("/" + "x" * 9000, auth=(f"{number}" + "y" * 9000, "x"))

    asyncio.run(guess())
    assert [event["action"] for event in audit.recent()] == ["sign_in_failed"]
    assert len(str(audit.recent())) < 1000


def test_a_credential_above_its_rate_waits_and_others_do_not(tmp_path: Path) -> None:
    """429 with the time to wait; health checks have no limit."""
    app, audit = app_of(tmp_path, requests_per_minute=1)
    requests = [("GET", "/api/status", Role.VIEWER)] * (MIN_BURST_REQUESTS + 7)
    found = asyncio.run(statuses(app, [*requests, ("GET", "/api/status", Role.ADMIN)]))
    assert found == [200] * MIN_BURST_REQUESTS + [429] * 7 + [200]
    assert [event["principal"] for event in audit.recent() if event["action"] == "rate_limited"] == ["VIEWER"]

    async def refused() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get("/api/status", headers={"authorization": f"Bearer {secret(Role.VIEWER)}"})

    answer = asyncio.run(refused())
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "requests per minute by VIEWER" in answer.json()["error"]
