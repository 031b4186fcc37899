"""API routes of changes: the list, and the doors at which other systems report them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.access.roles import Principal
from foreshock_dashboard.changes.argocd import argocd_change
from foreshock_dashboard.changes.cloud_events import STRUCTURED_TYPE, binary_event, deployment_event, structured_event
from foreshock_dashboard.changes.fields import MAX_TEXT_CHARS, InvalidChangeError
from foreshock_dashboard.changes.github import github_change, has_signature
from foreshock_dashboard.changes.log import ChangeLog
from foreshock_dashboard.changes.merging import merged_changes, service_aliases
from foreshock_dashboard.changes.reports import annotation, reported_change
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.api.answers import RouteContext, get_snapshot, post, sender
from foreshock_dashboard.web.http.authentication import GITHUB_PATH
from foreshock_dashboard.web.http.responses import Payload
from foreshock_dashboard.web.state.change_json import ChangeJson, Changes, change_row
from foreshock_dashboard.web.state.parameters import AsOf, BadParameterError, NoParameters, Parameters

GITHUB = Principal("github", "signature")
MAX_LISTED = 1000
_UNSIGNED = "X-Hub-Signature-256: missing or wrong. Sign with the secret of --github-webhook-secret-file"


class EnvironmentParameters(Parameters):
    """Of events that name an environment."""

    environment: str = Field(
        "", max_length=MAX_TEXT_CHARS, description="only deployments to this environment; default all"
    )


class ReportedChange(TypedDict):
    """The change as it was kept; null where the event is none, or only says that one failed."""

    change: ChangeJson | None


class AddedAnnotation(ReportedChange):
    """As Grafana answers. id: of the newest entry of the journal."""

    id: int
    message: str


def add_change_routes(context: RouteContext) -> None:
    """Register the routes. Those that report need the role responder (see `access.roles`).

    With a secret of GitHub's webhooks, their signature takes the place of a role.
    """
    api, hub, responder = context.api, context.hub, context.responder
    audit, secret = context.access.audit, context.access.webhook_secret
    log = ChangeLog(hub.journal)

    @get_snapshot(api, responder, "/changes", "Changes of the last hours, newest first", Changes)
    def changes(snapshot: Snapshot, past: bool, _query: AsOf) -> Payload:
        world = snapshot.world
        now = responder.time_of(snapshot, past)
        if past:
            known = world.changes if world else ()
        else:
            collected = world.collected if world else frozenset()
            known = merged_changes((*collected, *log.all()), service_aliases(snapshot.services))
        return {"changes": [change_row(change) for change in reversed(known) if change.at <= now][:MAX_LISTED]}

    async def keep(change: Change | None, by: str) -> Payload:
        if change is None:
            return {"change": None}
        await run_in_threadpool(log.add, change, by)
        shown = merged_changes([change], service_aliases(hub.snapshot.services))
        return {"change": change_row(shown[0]) if shown else None}

    @post(api, hub, "/changes", "Report a change, as JSON or as a CloudEvent", ReportedChange, name="report_change")
    async def report(request: Request, query: Annotated[EnvironmentParameters, Query()]) -> Response:
        change = _change_or_cloud_event(request, await request.body(), hub.now(), query.environment)
        return responder.json_response(request, hub.snapshot, await keep(change, sender(request)))

    @post(
        api, hub, "/annotations", "Report a change as a Grafana annotation", AddedAnnotation, name="report_annotation"
    )
    async def annotate(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        body = _json(await request.body())
        change = _valid(lambda: annotation(body, hub.now(), hub.snapshot.services))
        kept = await keep(change, sender(request))
        answer = {**kept, "id": hub.journal.newest, "message": "Annotation added"}
        return responder.json_response(request, hub.snapshot, answer)

    @post(api, hub, "/webhooks/argocd", "Receive Argo CD notifications", ReportedChange, name="report_argocd")
    async def argocd(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        body = _json(await request.body())
        change = _valid(lambda: argocd_change(body, hub.now()))
        return responder.json_response(request, hub.snapshot, await keep(change, sender(request)))

    async def keep_github(request: Request, body: bytes, environment: str, by: str) -> Response:
        values, event = _json(body), request.headers.get("x-github-event", "")
        change = _valid(lambda: github_change(event, values, hub.now(), environment))
        return responder.json_response(request, hub.snapshot, await keep(change, by))

    @post(
        api, hub, GITHUB_PATH.removeprefix("/api"), "Receive webhooks of GitHub", ReportedChange, name="report_github"
    )
    async def github(request: Request, query: Annotated[EnvironmentParameters, Query()]) -> Response:
        body = await request.body()
        if secret is None:
            return await keep_github(request, body, query.environment, sender(request))
        if not has_signature(secret(), body, request.headers.get("x-hub-signature-256", "")):
            audit.record_request("sign_in_failed", request.scope, GITHUB, status=403)
            raise HTTPException(403, _UNSIGNED)
        status = 500
        try:
            answer = await keep_github(request, body, query.environment, GITHUB.name)
            status = answer.status_code
        except BadParameterError:
            status = 400
            raise
        except SourceError:
            status = 503
            raise
        finally:
            audit.record_request("change", request.scope, GITHUB, status=status)
        return answer


def _change_or_cloud_event(request: Request, body: bytes, now: float, environment: str) -> Change | None:
    """A change, or a CloudEvent in structured mode (by its media type) or in binary mode (by its headers).

    Raises:
        BadParameterError: it is invalid.
    """
    values, headers = _json(body), request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() == STRUCTURED_TYPE:
        return _valid(lambda: deployment_event(structured_event(values), now, environment))
    if "ce-type" in headers or "ce-specversion" in headers:
        return _valid(lambda: deployment_event(binary_event(headers, values), now, environment))
    return _valid(lambda: reported_change(values, now))


def _valid(read: Callable[[], Change | None]) -> Change | None:
    try:
        return read()
    except InvalidChangeError as error:
        raise BadParameterError(str(error)) from None


def _json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadParameterError("body: not JSON. Send the content type application/json") from None
