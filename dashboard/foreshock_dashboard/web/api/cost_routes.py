"""API routes of the cost of GPU time."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from foreshock_dashboard.web.api.answers import RouteContext, get
from foreshock_dashboard.web.api.csv import table
from foreshock_dashboard.web.api.parameters import CostParameters
from foreshock_dashboard.web.http.responses import CSV, download
from foreshock_dashboard.web.pages.cost.cost_json import Cost, CostReports, CostRowJson, cost
from foreshock_dashboard.web.pages.cost.data import CostPage, cost_page
from foreshock_dashboard.web.state.parameters import time_parameter


def add_cost_routes(context: RouteContext) -> None:
    """Register the routes on `api`."""
    api, hub, responder = context.api, context.hub, context.responder
    reports = CostReports(hub)

    def found(query: CostParameters) -> Cost:
        until = time_parameter("at", query.at, hub.now(), math.inf)
        return cost(hub, reports.get(query.range, until), query.range, query.by)

    @get(api, "/cost", "GPU time busy, waiting, idle, and unallocated; what it costs; and unused GPUs", Cost)
    def cost_(request: Request, query: Annotated[CostParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, found(query))

    @get(api, "/pages/cost", "All values of the Cost page", CostPage)
    def page_cost(request: Request, query: Annotated[CostParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, cost_page(found(query)))

    @api.get("/csv/cost", summary="The rows of /api/cost as CSV", name="csv_cost", response_class=Response)
    def csv_cost(query: Annotated[CostParameters, Query()]) -> Response:
        body = table(CostRowJson.columns(), found(query)["rows"])
        return download(f"foreshock-cost-{hub.now():.0f}.csv", body, CSV)
