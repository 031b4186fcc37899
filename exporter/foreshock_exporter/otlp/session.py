"""The HTTP session of an OTLP exporter of the SDK, which says only that a push failed: this one knows why."""

from __future__ import annotations

from typing import Any

import requests

from foreshock_exporter.otlp.report import PushError


class RecordingSession(requests.Session):
    """A session that remembers what became of the last request. For one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: PushError | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - passed on as they came
        """Send, and remember."""
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.trouble = PushError(describe_error(error))
            raise
        refused = f"HTTP {response.status_code} {response.reason}".rstrip()
        self.trouble = None if response.ok else PushError(refused, response.status_code)
        return response

    def take(self) -> PushError:
        """Why the last push failed."""
        return self.trouble or PushError("the push was not sent; --log.level=debug says more", 400)


def describe_error(error: BaseException) -> str:
    """One line for people: what the system said of the connection, without the layers around it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    seen: set[int] = set()
    found = ""
    pending: list[object] = [error]
    while pending:
        inner = pending.pop()
        if not isinstance(inner, BaseException) or id(inner) in seen:
            continue
        seen.add(id(inner))
        if isinstance(inner, OSError) and inner.strerror:
            found = inner.strerror
        pending += [*inner.args, getattr(inner, "reason", None), inner.__cause__, inner.__context__]
    return found or type(error).__name__
