"""API routes of documents: postmortems and runbooks."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.web.api.answers import Report, RouteContext, Runbooks, get
from foreshock_dashboard.web.api.parameters import ReportParameters
from foreshock_dashboard.web.documents import runbooks as runbook_pages
from foreshock_dashboard.web.documents.postmortem import report
from foreshock_dashboard.web.documents.report_forms import zipped
from foreshock_dashboard.web.http.responses import ZIP, download
from foreshock_dashboard.web.state.parameters import NoParameters, incident_named


def add_document_routes(context: RouteContext) -> None:
    """Register the routes."""
    api, hub, responder = context.api, context.hub, context.responder

    @get(
        api,
        "/runbooks",
        "All bundled alert rules, each with its meaning and the URL of its runbook",
        Runbooks,
    )
    def runbooks(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, runbook_pages.listed())

    @get(api, "/report/{incident}", "A postmortem of one incident: Markdown, and its plots as SVG", Report)
    def report_(request: Request, incident: str, query: Annotated[ReportParameters, Query()]) -> Response:
        snapshot, _ = responder.snapshot_at(query.at)
        if snapshot.world is None:
            raise HTTPException(404, "no incidents: waiting for the first evaluation")
        try:
            item = incident_named(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        written = report(snapshot.world, item, _at_page(hub, item), context.responses.current())
        if query.format == "zip":
            return download(f"foreshock-{item.id}.zip", zipped(written, item.id), ZIP)
        body = {"id": item.id, "markdown": written.markdown, "plots": dict(written.plots)}
        return responder.json_response(request, snapshot, body)


def _at_page(hub: HubView, item: Incident) -> Incident | None:
    """An incident as of its page; None without one, or if the hub no longer has the data."""
    if item.paged is None:
        return None
    try:
        past = hub.at(item.paged).incidents
    except SourceError:
        return None
    return next((found for found in past if found.id == item.id), None)
