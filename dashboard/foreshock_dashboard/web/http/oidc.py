"""Login at an OpenID provider: authorization code flow with PKCE, nonce, and state; a session in a signed cookie.

The flow and the checks of the ID token are Authlib's (OpenID Connect Core 1.0, RFC 7636).
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Principal, Role, Roles
from foreshock_dashboard.common.pem_files import client_context
from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded_text

LOGIN, CALLBACK, LOGOUT = "/login", "/login/callback", "/logout"
OPEN_OIDC_PATHS = frozenset({LOGIN, CALLBACK, LOGOUT})
SESSION_SECONDS = 8 * 3600
"""Then the provider is queried again, which notices a disabled account."""
PROVIDER_SECONDS = 10.0
"""Longest wait for an answer of the provider."""
MAX_PENDING_LOGINS = 2
"""Logins that one browser may have begun, the newest ones; each takes about 600 bytes of its cookie."""
MAX_NEXT_BYTES = 1024
"""Of the pages to return to, which are in the cookie as well. Browsers drop a cookie of more than 4096 bytes."""
MAX_ERROR_CHARACTERS = 200
"""Of an error in the log; anyone can send one to the callback."""
LOG_INTERVAL_SECONDS = 60.0
"""In which an error of the same kind is logged once."""
STATE_BYTES = 24
_STATE = "_state_oidc_"
"""Begins the keys of pending logins in Authlib's session."""
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\x00-\x20\x7f]*")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """Options of the login. issuer: URL of the provider. ca: CA bundle for it, None for the system's.

    external_url: address of the page as browsers see it, without a slash at its end; "" for that of each request.
    """

    issuer: str
    client_id: str
    secret_file: Path
    ca: Path | None = None
    scopes: str = "openid email profile"
    user_claim: str = "email"
    groups_claim: str = "groups"
    external_url: str = ""


class Oidc:
    """Signs users in at an OpenID provider.

    The client secret is re-read when its file changes. The key of the sessions is derived from it, so that sessions
    survive a restart, hold on all replicas, and end when the secret is rotated.

    Raises:
        FileError: the secret or the CA bundle cannot be read.
    """

    def __init__(self, options: OidcOptions, roles: Roles, audit: AuditLog) -> None:
        self._options, self._roles, self._audit = options, roles, audit
        path = options.secret_file
        self._secret = ReloadingFile([path], lambda: _read_secret(path), "the previous client secret stays valid")
        self._client = _client(options, self._secret.value)
        self._logged_at: dict[str, float] = {}

    def principal(self, session: Mapping[str, Any]) -> Principal | None:
        """The user of a session; None without one, or after `SESSION_SECONDS`."""
        if not 0 <= time.time() - session.get("since", 0) < SESSION_SECONDS:
            return None
        return Principal(session["user"], "oidc", tuple(session["groups"]))

    def register(self, app: FastAPI) -> None:
        """Add the routes of the login."""
        app.add_api_route(LOGIN, self._login, include_in_schema=False)
        app.add_api_route(CALLBACK, self._callback, include_in_schema=False)
        app.add_api_route(LOGOUT, self._logout, include_in_schema=False)

    def session_key(self) -> bytes:
        """The key that signs session cookies."""
        return hmac.digest(self._secret.current().encode(), b"foreshock session", hashlib.sha256)

    async def _login(self, request: Request, next: str = "/") -> Response:  # noqa: A002 - name of the parameter
        try:
            await self._check_issuer()
            pending = sorted(
                (item for item in request.session.items() if item[0].startswith(_STATE)),
                key=lambda item: item[1]["exp"],
            )
            state = secrets.token_urlsafe(STATE_BYTES)
            returns = _returns(request.session)
            request.session["next"] = _bounded({**returns, state: next if _LOCAL_PATH.fullmatch(next) else "/"})
            base = self._options.external_url or f"{request.url.scheme}://{request.url.netloc}"
            answer: Response = await self._client.authorize_redirect(request, base + CALLBACK, state=state)
            request.session.update(pending[1 - MAX_PENDING_LOGINS :])  # Authlib keeps the newest alone
        except Exception as error:  # noqa: BLE001 - the errors of Authlib, joserfc, and httpx2 have no common class
            return self._failed(request, error, 503)
        return _uncached(answer)

    async def _callback(self, request: Request) -> Response:
        state, returns = request.query_params.get("state", ""), _returns(request.session)
        target = returns.get(state, "/")
        if self.principal(request.session) and f"{_STATE}{state}" not in request.session:  # signed in in another tab
            return _uncached(RedirectResponse(target, 303))
        self._client.client_secret = self._secret.current()
        try:
            issuer = await self._check_issuer()
            expected = {"iss": {"values": [issuer]}, "aud": {"essential": True, "values": [self._options.client_id]}}
            token = await self._client.authorize_access_token(request, claims_options=expected)
            claims = await self._claims(token)
            user = _user(claims, self._options.user_claim)
        except Exception as error:  # noqa: BLE001 - as above, and of an ID token of any shape
            return self._failed(request, error, _status(error))
        groups = sorted(self._roles.groups & _texts(claims.get(self._options.groups_claim)))
        principal = Principal(user, "oidc", tuple(groups))
        role = self._roles.of(principal)
        request.session.clear()
        if role is Role.NONE:
            self._audit.record_request("denied", request.scope, principal, role, status=403)
            return _page("No role", f"{user} has no role on this hub. Ask its administrator for one (--roles).", 403)
        others = {other: page for other, page in returns.items() if other != state}
        request.session.update(user=user, groups=groups, since=time.time(), next=others)
        self._audit.record_request("sign_in", request.scope, principal, role)
        return _uncached(RedirectResponse(target, 303))

    async def _claims(self, token: Mapping[str, Any]) -> Mapping[str, Any]:
        """Claims of the ID token, and those that the provider gives only at its userinfo endpoint.

        Raises ValueError if the two are of different users (OpenID Connect Core 1.0, section 5.3.2).
        """
        claims: Mapping[str, Any] = token["userinfo"]
        wanted = {self._options.user_claim, self._options.groups_claim}
        if self._options.user_claim == "email":
            wanted.add("email_verified")
        if wanted <= claims.keys() or not self._client.server_metadata.get("userinfo_endpoint"):
            return claims
        more = await self._client.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise ValueError("the userinfo endpoint returned a different user")
        return {**more, **claims}

    async def _logout(self, request: Request) -> Response:
        if principal := self.principal(request.session):
            self._audit.record_request("sign_out", request.scope, principal, self._roles.of(principal))
        request.session.clear()
        return _page("Signed out", "You are signed out of foreshock, but not of the identity provider.", 200)

    async def _check_issuer(self) -> str:
        """The issuer. Raises ValueError if it is not that of the option (OpenID Connect Discovery 1.0, section 4.3)."""
        issuer = (await self._client.load_server_metadata()).get("issuer")
        if str(issuer).rstrip("/") != self._options.issuer.rstrip("/"):
            raise ValueError(f"the provider's issuer is {issuer!r}, but --oidc-issuer is {self._options.issuer!r}")
        return str(issuer)

    def _failed(self, request: Request, error: Exception, status: int) -> Response:
        kind, now = type(error).__name__, time.monotonic()
        if now - self._logged_at.get(kind, -math.inf) >= LOG_INTERVAL_SECONDS:
            self._logged_at[kind] = now
            _log.warning("login at %s failed: %s: %s", self._options.issuer, kind, str(error)[:MAX_ERROR_CHARACTERS])
        self._audit.record_request("sign_in_failed", request.scope, Principal("", "oidc"), status=status)
        return _page("Login failed", "The login failed. See the hub's log for the reason.", status)


class SessionCookie(SessionMiddleware):
    """Starlette's signed session cookie with a key that may change; `__Host-` ties it to this host (RFC 6265bis)."""

    def __init__(self, app: ASGIApp, key: Callable[[], bytes], *, secure: bool) -> None:
        name = "__Host-foreshock" if secure else "foreshock"
        super().__init__(app, "", name, max_age=SESSION_SECONDS, same_site="lax", https_only=secure)
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sign and check with the present key."""
        self.signer = TimestampSigner(self._key())
        await super().__call__(scope, receive, send)


def _client(options: OidcOptions, secret: str) -> Any:  # noqa: ANN401 - Authlib has no types
    from authlib.integrations.starlette_client import OAuth

    return OAuth().register(
        "oidc",
        client_id=options.client_id,
        client_secret=secret,
        server_metadata_url=f"{options.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": options.scopes,
            "code_challenge_method": "S256",
            "timeout": PROVIDER_SECONDS,
            "verify": client_context(options.ca) if options.ca else True,
        },
    )


def _status(error: Exception) -> int:
    """503 where the provider cannot be reached, 403 where it or the hub refuses the user."""
    from httpx2 import HTTPError  # Authlib's client, imported where there is a login only

    return 503 if isinstance(error, HTTPError) else 403


def _user(claims: Mapping[str, Any], claim: str) -> str:
    """The name of the user. Raises ValueError without one, or for an e-mail address that is not verified."""
    user = claims.get(claim)
    if not isinstance(user, str) or not user or not user.isprintable():
        raise ValueError(f"the ID token has no usable claim {claim!r}; set --oidc-user-claim")
    if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise ValueError("the provider has not verified the e-mail address")
    return user


def _returns(session: Mapping[str, Any]) -> dict[str, str]:
    """The pages to return to, by the state of their login. A cookie of an earlier version has one text instead."""
    returns = session.get("next")
    return returns if isinstance(returns, dict) else {}


def _bounded(returns: dict[str, str]) -> dict[str, str]:
    """The newest pages to return to, by the state of their login, that fit into the cookie."""
    kept = dict(list(returns.items())[-MAX_PENDING_LOGINS:])
    while len(json.dumps(kept)) > MAX_NEXT_BYTES:
        del kept[next(iter(kept))]
    return kept


def _texts(value: object) -> frozenset[str]:
    """The texts of a claim that is a text or a list; of anything else in it, nothing."""
    listed = value if isinstance(value, list) else [value]
    return frozenset(item for item in listed if isinstance(item, str))


def _read_secret(path: Path) -> str:
    secret = read_bounded_text(path).strip()
    if not secret:
        raise FileError(f"{path}: is empty. Write the client secret to it")
    return secret


def _page(title: str, text: str, status: int) -> Response:
    body = (
        '<!doctype html><html lang="en"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width"><style>body{font:16px/1.5 system-ui;margin:15vh auto;'
        f"max-width:32rem;padding:0 1rem}}</style><title>{title}</title><h1>{title}</h1><p>{html.escape(text)}</p>"
        f'<p><a href="{LOGIN}">Sign in</a></p>'
    )
    return _uncached(HTMLResponse(body, status))


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
