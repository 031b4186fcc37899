"""The addresses of what the pages of services and of the hub's own health show."""

from __future__ import annotations

from difflib import get_close_matches

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.api.openapi import document
from foreshock_dashboard.web.http.json_cache import encode
from foreshock_dashboard.web.http.responses import Answers
from foreshock_dashboard.web.pages.services import data as service
from foreshock_dashboard.web.pages.status.data import status
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.params import BadParameterError, only, service_named

ALIKE = 3
"""Names that are offered in place of one that nobody has."""
LONGEST = 200
"""Characters of a name that a refusal repeats."""


class ServiceFeeds:
    """Answers from one hub."""

    def __init__(self, hub: HubView, answers: Answers, version: str) -> None:
        self._hub = hub
        self._answers = answers
        self._version = version

    def register(self, app: FastAPI) -> None:
        """Add all addresses to the app."""
        for path, answer, name in (
            ("/api/pages/services", self._services, "page_services"),
            ("/api/pages/services/{service:path}", self._service, "page_service"),
            ("/api/pages/status", self._status, "page_status"),
        ):
            app.add_api_route(path, answer, name=name, **document(name))

    def _services(self, request: Request) -> Response:
        only(request.query_params, ("at",))
        return self._answers.tick(request, "page_services", lambda snapshot, _: service.services(snapshot))

    def _service(self, request: Request, service: str) -> Response:
        only(request.query_params, ("at",))
        return self._answers.tick(request, f"page_service {service}", lambda snapshot, _: self._one(snapshot, service))

    def _one(self, snapshot: Snapshot, name: str) -> Json:
        return service.service(snapshot, self._known(snapshot, name))

    def _known(self, snapshot: Snapshot, text: str) -> Service:
        """The service that is meant; before the first tick, whatever it is called.

        Raises:
            BadParameterError: it has no name, or several have it.
            HTTPException: 404, nobody knows of it; the message has names like it.
        """
        known = snapshot.world.services if snapshot.world else ()
        try:
            found = service_named(text, known) if known else Service.parse(text)
        except ValueError as error:
            raise BadParameterError(f"service={text[:LONGEST]!r}: {error}") from None
        if known and found not in known:
            names = [str(each) for each in known]
            alike = get_close_matches(text[:LONGEST], [*names, *(each.name for each in known)], ALIKE, 0.5)
            hint = f"; do you mean {', '.join(dict.fromkeys(alike))}?" if alike else ""
            raise HTTPException(404, f"No service {text[:LONGEST]!r} is known{hint} All are under Services.")
        return found or Service.parse(text)

    def _status(self, request: Request) -> Response:
        only(request.query_params, ("at",))
        snapshot, past = self._answers.at(request)
        told = status(snapshot, self._hub.status(), self._hub.ready(), self._hub.now(), self._version, past=past)
        return self._answers.send(request, encode(conditions.envelope(snapshot) | told))
