"""OAuth2 client credentials: a token that is fetched, cached, and renewed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import quote_plus

import httpx

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.http_config.reading import secret_text
from foreshock_dashboard.sources.http_config.tls import ssl_context
from foreshock_dashboard.sources.http_config.values import OAuth2

TOKEN_SECONDS = 10.0
"""Limit of a request for a token."""
LEEWAY_SECONDS = 30.0
"""A token is renewed that long before it expires."""
IN_HEADER, IN_FORM = "client_secret_basic", "client_secret_post"
"""Where the client id and secret are sent."""
_MAX_REASON_CHARACTERS = 200


class OAuth2Auth(httpx.Auth):
    """Adds an access token. Thread-safe. Requests raise SourceError if there is none.

    A 401 renews the token once: the server may have revoked it before its end.

    Raises:
        FileError: a file of the configuration cannot be used.
    """

    def __init__(self, config: OAuth2) -> None:
        self._config = config
        self._secret = secret_text(config.client_secret, config.client_secret_file)
        self._verify = ssl_context(config.tls_config) if config.tls_config else True
        self._lock = threading.Lock()
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
        with self._lock:
            if not self._token or self._token == refused or time.time() > self._expires_at - LEEWAY_SECONDS:
                answer = self._fetch()
                self._token = str(answer["access_token"])
                seconds = answer.get("expires_in")
                self._expires_at = time.time() + float(seconds) if isinstance(seconds, int | float) else math.inf
            return self._token

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
            with httpx.Client(verify=self._verify, timeout=TOKEN_SECONDS, auth=auth) as client:
                response = client.post(str(config.token_url), data=form)
            answer = response.json() if response.content else {}
        except (httpx.HTTPError, ValueError) as error:
            reason = f"gives no token ({type(error).__name__}: {error})"
            raise SourceError(self._message(reason, "Check token_url and tls_config")) from None
        if response.status_code >= 500 or not isinstance(answer, dict):
            raise SourceError(self._message(f"gives no token (status {response.status_code})", "See its log"))
        if not answer.get("access_token"):
            reason = f"refuses the client ({answer.get('error')}: {answer.get('error_description', 'no description')})"
            raise _RefusedError(self._message(reason, "Check client_id, client_secret, and scopes"))
        return answer

    def _message(self, reason: str, remedy: str) -> str:
        return f"oauth2: {self._config.token_url} {reason[:_MAX_REASON_CHARACTERS]}. {remedy}"


class _RefusedError(SourceError):
    """The token server refuses the client."""
