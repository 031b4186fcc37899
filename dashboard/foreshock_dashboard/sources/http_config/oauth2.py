"""OAuth2 client credentials: a token that is fetched, cached, and renewed."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import quote_plus

import httpx

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.http_config.attempt import SharedAttempt
from foreshock_dashboard.sources.http_config.reading import secret_text
from foreshock_dashboard.sources.http_config.tls import server_name_hook, ssl_context
from foreshock_dashboard.sources.http_config.values import OAuth2

TOKEN_SECONDS = 10.0
"""Limit of a request for a token."""
MAX_ANSWER_BYTES = 1 << 20
"""Largest answer of a token server, after decompression."""
LEEWAY_SECONDS = 30.0
"""A token is renewed that long before it expires."""
IN_HEADER, IN_FORM = "client_secret_basic", "client_secret_post"
"""Where the client id and secret are sent."""
_MAX_REASON_CHARACTERS = 200
_REFUSED = frozenset({400, 401, 403})
_TOKEN = re.compile(r"[!-~]+")


class OAuth2Auth(httpx.Auth):
    """Adds an access token. Thread-safe. Requests raise SourceError if there is none.

    A 401 renews the token once: the server may have revoked it before its end.

    Raises:
        FileError: a file of the configuration cannot be used.
    """

    def __init__(self, config: OAuth2) -> None:
        self._config = config
        self._secret = secret_text(config.client_secret, config.client_secret_file)
        self._verify = ssl_context(config.tls_config)
        self._attempt = SharedAttempt()
        self._token, self._expires_at = "", 0.0
        self._method = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth.auth_flow`."""
        token = self._current()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {self._current(refused=token)}"
            yield request

    def _current(self, refused: str = "") -> str:
        """The cached token, or a new one if it expires soon or is the refused one."""

        def token() -> str:
            if not self._token or self._token == refused or time.time() > self._expires_at - LEEWAY_SECONDS:
                answer = self._fetch()
                self._token, self._expires_at = answer["access_token"], time.time() + _seconds(answer.get("expires_in"))
            return self._token

        return self._attempt(token)

    def _fetch(self) -> dict[str, Any]:
        """A token of the server. Client id and secret go into the header, or, where that is refused, into the form."""
        methods = (self._method,) if self._method else (IN_HEADER, IN_FORM)
        for method in methods:
            try:
                answer = self._request(method)
            except _RefusedError:
                if method != methods[-1]:
                    continue
                raise
            self._method = method
            return answer
        raise AssertionError

    def _request(self, method: str) -> dict[str, Any]:
        """The answer of the token server (RFC 6749, section 5)."""
        config, auth = self._config, None
        form = {"grant_type": "client_credentials", **config.endpoint_params}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        if method == IN_HEADER:  # encoded as a form first (section 2.3.1)
            auth = httpx.BasicAuth(quote_plus(config.client_id), quote_plus(self._secret))
        else:
            form |= {"client_id": config.client_id, "client_secret": self._secret}
        try:
            hooks = {"request": [server_name_hook(config.tls_config)]}
            with (
                httpx.Client(verify=self._verify, timeout=TOKEN_SECONDS, auth=auth, event_hooks=hooks) as client,
                client.stream("POST", str(config.token_url), data=form) as response,
            ):
                answer = self._answer(response)
        except httpx.HTTPError as error:
            reason = f"returned no token ({type(error).__name__}: {error})"
            raise SourceError(self._message(reason, "Check token_url and tls_config")) from None
        token, status = answer.get("access_token"), response.status_code
        if status < 300 and isinstance(token, str) and _TOKEN.fullmatch(token):
            return answer
        if status in _REFUSED or "error" in answer:
            reason = f"{answer.get('error', f'status {status}')}: {answer.get('error_description', 'no description')}"
            raise _RefusedError(
                self._message(f"rejected the client ({reason})", "Check client_id, client_secret, and scopes")
            )
        raise SourceError(self._message(f"returned no access_token (status {status})", "Check token_url"))

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        """The JSON object of a response; of any other, such as a page of a proxy, {}. Raises SourceError."""
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                reason = f"answers with more than {MAX_ANSWER_BYTES >> 20} MiB"
                raise SourceError(self._message(reason, "Check token_url"))
        try:
            answer = json.loads(body)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def _message(self, reason: str, remedy: str) -> str:
        return f"oauth2: {self._config.token_url} {reason[:_MAX_REASON_CHARACTERS]}. {remedy}"


def _seconds(expires_in: object) -> float:
    """The life of a token, a number or its text; without one, it is renewed when it is refused."""
    try:
        return float(expires_in) if isinstance(expires_in, int | float | str) else math.inf
    except ValueError:
        return math.inf


class _RefusedError(SourceError):
    """The token server refuses the client."""
