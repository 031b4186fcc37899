"""The middleware around every app: host names, sessions, credentials, cross-site requests, and headers."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from foreshock_dashboard.web.http.authentication import Access, Authenticated
from foreshock_dashboard.web.http.oidc import SessionCookie
from foreshock_dashboard.web.http.security import AddedHeaders, HeadAsGet, KnownHost, SameSite, security_headers


def protect(
    server: FastAPI, content_policy: str, hosts: Collection[str] | None, access: Access, *, secure: bool
) -> None:
    """Add the middleware; the last one added sees a request first. Arguments as of `create_app`."""
    server.add_middleware(HeadAsGet)
    server.add_middleware(SameSite)
    server.add_middleware(Authenticated, access=access)
    if access.oidc:
        server.add_middleware(SessionCookie, key=access.oidc.session_key, secure=secure)
    server.add_middleware(KnownHost, hosts=hosts)
    headers = security_headers(content_policy)
    server.add_middleware(AddedHeaders, headers=headers)

    async def failed(_request: Request, _: Exception) -> Response:
        return JSONResponse({"error": "internal error. See the log of the hub"}, 500, headers=headers)

    server.add_exception_handler(Exception, failed)  # Starlette answers it outside of all middleware
