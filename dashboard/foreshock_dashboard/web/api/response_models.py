"""Response models of the documented routes, for OpenAPI: the envelope, and the fields of each payload."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.web.api.load_balancing import Headroom, Health
from foreshock_dashboard.web.http.responses import Envelope
from foreshock_dashboard.web.pages.cascade.data import CascadePage
from foreshock_dashboard.web.pages.contention.data import ContentionPage
from foreshock_dashboard.web.pages.fleet.data import Fleet
from foreshock_dashboard.web.pages.fleet.gpu import GpuDetail
from foreshock_dashboard.web.pages.now.data import NowPage
from foreshock_dashboard.web.pages.services.data import ServicePage, ServicesPage
from foreshock_dashboard.web.pages.status.data import StatusPage
from foreshock_dashboard.web.pages.traces.exemplars import Exemplars
from foreshock_dashboard.web.pages.traces.trace_json import Trace, TraceList
from foreshock_dashboard.web.panels.topology import Topology
from foreshock_dashboard.web.state.lists import Contention, Gpus, HubStatus, Incidents, Pools, Services, Warnings


class Error(TypedDict):
    """An error: a sentence that names the input and the remedy."""

    error: str


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "model": Error,
        "description": "400: a parameter cannot be used; 404: nothing has this name. The message has the remedy",
    },
    503: {"model": Error, "description": "the source cannot answer"},
}
"""Errors of every route, in place of FastAPI's 422."""


class ServicesAnswer(Envelope, Services):
    """`/api/services`."""


class GpusAnswer(Envelope, Gpus):
    """`/api/gpus`."""


class ContentionAnswer(Envelope, Contention):
    """`/api/contention`."""


class PoolsAnswer(Envelope, Pools):
    """`/api/pools`."""


class WarningsAnswer(Envelope, Warnings):
    """`/api/warnings`."""


class IncidentsAnswer(Envelope, Incidents):
    """`/api/incidents`."""


class StatusAnswer(Envelope, HubStatus):
    """`/api/status`."""


class HealthAnswer(Envelope, Health):
    """`/api/health/{service}`."""


class HeadroomAnswer(Envelope, Headroom):
    """`/api/headroom`."""


class TracesAnswer(Envelope, TraceList):
    """`/api/traces`."""


class TraceAnswer(Envelope, Trace):
    """`/api/traces/{trace_id}`."""


class TopologyAnswer(Envelope, Topology):
    """`/api/topology`."""


class NowAnswer(Envelope, NowPage):
    """`/api/now`."""


class ContentionPageAnswer(Envelope, ContentionPage):
    """`/api/pages/contention`."""

    topology: str


class CascadeAnswer(Envelope, CascadePage):
    """`/api/pages/cascade`."""

    topology: str


class FleetAnswer(Envelope, Fleet):
    """`/api/pages/fleet`."""

    topology: str
    open: GpuDetail | None


class ExemplarsAnswer(Envelope, Exemplars):
    """`/api/pages/contention/traces`."""


class ServicesPageAnswer(Envelope, ServicesPage):
    """`/api/pages/services`."""


class ServicePageAnswer(Envelope, ServicePage):
    """`/api/pages/services/{service}`."""


class StatusPageAnswer(Envelope, StatusPage):
    """`/api/pages/status`."""


class ReportAnswer(Envelope):
    """`/api/report/{incident}`."""

    id: str
    markdown: Annotated[str, Field(description="each plot is an image NAME.svg")]
    plots: Annotated[dict[str, str], Field(description="SVG by name")]


class RunbookRow(TypedDict):
    """An alert rule and its runbook."""

    alert: str
    meaning: str
    address: str


class RunbooksAnswer(Envelope):
    """`/api/runbooks`."""

    runbooks: list[RunbookRow]
