"""Security middleware: headers, cross-site requests, Host names, body size, and malformed callbacks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.common.addresses import is_loopback

MAX_BODY_BYTES = 1 << 20
"""Dash's callbacks need a few hundred."""
MAX_NAME_LENGTH = 200
"""Characters of a Host name that an error repeats."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """The Content-Security-Policy: nothing from other origins, and inline scripts only with these hashes."""
    scripts = " ".join(["'self'", *script_hashes])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def security_headers(csp: str) -> dict[str, str]:
    """Headers that forbid browser features the app does not use."""
    return {
        "Content-Security-Policy": csp,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


class AddedHeaders:
    """Adds headers to every answer."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers)


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent the request for a page of another site. Other clients send neither header.

    Browsers set Sec-Fetch-Site, and no script can change it; older ones send Origin.
    """
    site = headers.get("sec-fetch-site", "")
    if site:
        return site not in ("same-origin", "none")
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc != headers.get("host", "")


class HeadAsGet:
    """Answers HEAD as GET (RFC 9110, 9.3.2): load balancers probe with it. uvicorn leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as GET."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send)


class SameSite:
    """Refuses unsafe requests that a browser sends for a page of another site.

    WebSockets are refused altogether: this app has none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "WebSocket is not supported"})
            return
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and is_cross_site(Headers(scope=scope)):
            text = "cross-site request refused. Open the dashboard itself"
            await _refuse(403, text)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::\d*)?")


def host_name(authority: str) -> str:
    """The name or address in a Host header, lower-case and without port; "" if it is malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return (match["v6"] or match["name"]).lower().removesuffix(".") if match else ""


class KnownHost:
    """Refuses requests for unknown Host names.

    A page of evil.example can make its own name resolve to this machine ("DNS rebinding"), and is then of the same
    origin as this app to the browser. The Host header reveals it. hosts: names and addresses besides loopback ones; "*"
    accepts any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        names = [hosts] if isinstance(hosts, str) else list(hosts or ())
        self._app = app
        self._any = "*" in names
        self._names = {name.strip("[]").lower().removesuffix(".") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421, or pass the request on."""
        if scope["type"] == "http" and not self._any:
            for authority in Headers(scope=scope).getlist("host") or [""]:
                name = host_name(authority)
                if not (is_loopback(name) or (name and name in self._names)):
                    text = (
                        f"unknown Host header {authority[:MAX_NAME_LENGTH]!r}. Use localhost or a loopback address, "
                        "or add the name to --allowed-hosts"
                    )
                    await _refuse(421, text)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


class BodyLimit:
    """Reads a body of up to `most` bytes before the app sees it; 413 beyond.

    `check` returns the fault of a POST body to `path`, or "": then 400.
    """

    def __init__(self, app: ASGIApp, most: int, path: str, check: Callable[[bytes], str]) -> None:
        self._app = app
        self._most = most
        self._path = path
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 or 400, or pass the request on with its body."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        body = await self._read(receive)
        if body is None:
            await _refuse(413, f"body larger than {self._most} bytes")(scope, receive, send)
        elif scope["path"] == self._path and (fault := self._check(body)):
            await _refuse(400, fault)(scope, receive, send)
        else:
            messages = iter([{"type": "http.request", "body": body, "more_body": False}])

            async def replay() -> Message:
                return next(messages, None) or await receive()

            await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if it is too large."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def _refuse(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


_CALLBACK_KEYS = {"output", "outputs", "inputs", "state", "changedPropIds", "parsedChangedPropsIds"}


def callback_fault(body: bytes, inputs_by_output: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The fault of a Dash callback request's body; "" where it names a callback and has all of its inputs.

    inputs_by_output: id and property of each input, by the callback's output `id.property`. No callback takes state.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return "body is not JSON; this address is for the page itself"
    if not isinstance(request, dict) or not isinstance(request.get("output"), str):
        return "body has no output; this address is for the page itself"
    inputs = inputs_by_output.get(request["output"])
    if inputs is None:
        return "unknown output. Reload the page"
    for part, expected in (("inputs", list(inputs)), ("state", [])):
        if _slots(request.get(part, [])) != expected:
            return f"unexpected {part} of the output. Reload the page"
    outputs = request.get("outputs")
    if not isinstance(outputs, dict) or f"{outputs.get('id')}.{outputs.get('property')}" != request["output"]:
        return "outputs do not match the output. Reload the page"
    changed = request.get("changedPropIds", [])
    is_texts = isinstance(changed, list) and all(isinstance(name, str) for name in changed)
    if request.keys() - _CALLBACK_KEYS or not is_texts:
        return "malformed changedPropIds or other keys. Reload the page"
    return ""


def _slots(values: object) -> list[tuple[object, object]] | None:
    if not isinstance(values, list) or not all(isinstance(slot, dict) for slot in values):
        return None
    return [(slot.get("id"), slot.get("property")) for slot in values]
