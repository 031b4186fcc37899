"""HTTP session for the SDK's OTLP exporters that records why a push failed."""

from __future__ import annotations

from typing import Any

import requests

from foreshock_exporter.otlp.report import PushFailure


class RecordingSession(requests.Session):
    """Session that records the failure of the last request. Not thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: PushFailure | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - passed on as they came
        """Send a request and record its failure."""
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.failure = PushFailure(describe_error(error))
            raise
        status_line = f"HTTP {response.status_code} {response.reason}".rstrip()
        self.failure = None if response.ok else PushFailure(status_line, response.status_code)
        return response

    def last_failure(self) -> PushFailure:
        """Failure of the last push."""
        return self.failure or PushFailure("the push was not sent; --log.level=debug says more", 400)


def describe_error(error: BaseException) -> str:
    """System error of a connection in one line, without the layers around it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    visited: set[int] = set()
    message = ""
    errors: list[object] = [error]
    while errors:
        current = errors.pop()
        if not isinstance(current, BaseException) or id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, OSError) and current.strerror:
            message = current.strerror
        errors += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
    return message or type(error).__name__
