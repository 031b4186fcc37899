"""The query parameters of the API's addresses."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from foreshock_dashboard.web.pages.cost.cost_json import GROUPINGS
from foreshock_dashboard.web.pages.fleet.data import COLUMNS, METRICS, Selection
from foreshock_dashboard.web.pages.traces.parameters import TraceParameters
from foreshock_dashboard.web.state.parameters import SERVICE, TIME, AsOf, Parameters, decimal, one_of, refused, whole
from foreshock_exporter.common.durations import parse_duration

MAX_FILTER_LENGTH = 80
MAX_CSV_TRACES = 1000
MAX_TRAFFIC_FACTOR = 3.0
MAX_MOVED_REPLICAS = 10_000
MAX_COST_SECONDS = 30 * 86_400.0
INCIDENT_STATES = ("open", "resolved")


class NowParameters(AsOf):
    """`/api/now`."""

    start: str = Field("", alias="from", description=f"start of the sparklines: {TIME}; default 30 minutes before end")


class HeadroomParameters(Parameters):
    """`/api/headroom`."""

    service: str = Field("", description=f"only of this one: {SERVICE}")


class CaseParameters(Parameters):
    """A case of the capacity forecast."""

    traffic: Annotated[float, BeforeValidator(decimal(1.0, MAX_TRAFFIC_FACTOR))] = Field(
        1.0, description=f"what if: multiply all traffic by this factor, 1 to {MAX_TRAFFIC_FACTOR:g}"
    )
    lost: str = Field("", description="what if: this host is lost")
    move: str = Field("", description=f"what if: replicas of this service move to the pool `move_to`: {SERVICE}")
    move_to: str = Field("", description="what if: pool to move the replicas to")
    replicas: Annotated[float, BeforeValidator(whole(1, MAX_MOVED_REPLICAS))] = Field(
        math.inf, description="what if: number of replicas to move (default: all ready replicas)"
    )


class ForecastParameters(CaseParameters):
    """`/api/forecast`."""

    service: str = Field("", description=f"only this one, its points, and shortages of its pool: {SERVICE}")


class CapacityParameters(AsOf, CaseParameters):
    """`/api/pages/capacity`."""


def _cost_range(text: str) -> float:
    seconds = parse_duration(text)
    if not 3600 <= seconds <= MAX_COST_SECONDS:
        raise ValueError("not a duration from 1h to 30d")
    return seconds


class CostParameters(AsOf):
    """`/api/cost`."""

    range: Annotated[float, BeforeValidator(_cost_range), WithJsonSchema({"type": "string"})] = Field(
        86_400.0, description="length of the time range, 1h to 30d; default 24h"
    )
    by: Annotated[str, AfterValidator(one_of(GROUPINGS, f"unknown grouping. Use one of {', '.join(GROUPINGS)}"))] = (
        Field("service", description=f"grouping of the rows: {', '.join(GROUPINGS)}; default service")
    )


class IncidentsParameters(AsOf):
    """`/api/incidents`."""

    state: Annotated[str, AfterValidator(one_of(INCIDENT_STATES, "unknown state. Use open or resolved"))] = Field(
        "", description="open (firing or recovering), or resolved; default all"
    )


class ExplainParameters(AsOf):
    """`/api/explain`."""

    service: str = Field("", description="name, or namespace/name, up to case and separators (default: any service)")


class CompareParameters(Parameters):
    """`/api/compare`."""

    start: str = Field("", description=f"start of the range: {TIME}; default 15 minutes before its end")
    end: str = Field("", description=f"end of the range: {TIME}; default now")
    baseline_start: str = Field("", description=f"start of the range to compare with: {TIME}; default as long")
    baseline_end: str = Field("", description=f"its end: {TIME}; default an hour before the range starts")
    service: str = Field("", description=f"only this one, its calls, GPUs, and pairs: {SERVICE}")


class ReportParameters(AsOf):
    """`/api/report/{incident}`."""

    format: Annotated[str, AfterValidator(one_of(("json", "zip"), "unknown format. Use json or zip"))] = Field(
        "json", alias="as", description="json (default), or zip: the Markdown and its plots as one file"
    )


class ContentionParameters(AsOf):
    """`/api/pages/contention`."""

    victim: str = Field("", description="of the selected pair")
    aggressor: str = Field("", description="of the selected pair")


class ExemplarParameters(Parameters):
    """`/api/pages/contention/traces`."""

    victim: str = Field("", description=SERVICE)
    aggressor: str = Field("", description=SERVICE)
    start: str = Field("", description=f"{TIME}; default 30 minutes before end")
    end: str = Field("", description=f"{TIME}; default now")


class CascadeParameters(AsOf):
    """`/api/pages/cascade`."""

    start: str = Field(
        "", alias="from", description=f"since when lanes are drawn: {TIME}; 30 minutes before the end by default"
    )
    incident: str = Field("", description="ID of an incident (default: all open incidents)")
    service: str = Field("", description="service whose replicas and load are shown")


def _column(text: str) -> str:
    if text.removeprefix("-") not in COLUMNS:
        raise ValueError(f"unknown column. Use one of {', '.join(COLUMNS)}; - before it for descending order")
    return text


def _filter(text: str) -> str:
    if len(text) > MAX_FILTER_LENGTH:
        raise refused(f"q: longer than {MAX_FILTER_LENGTH} characters")
    return text.lower()


class InventoryParameters(AsOf):
    """`/api/csv/gpus`."""

    q: Annotated[str, AfterValidator(_filter)] = Field(
        "", description="only GPUs with this text in their name, UUID, model, pool, or services"
    )
    sort: Annotated[str, AfterValidator(_column)] = Field(
        Selection().sort, description="a column of the inventory, - before it for the largest first; default -contended"
    )

    @property
    def selection(self) -> Selection:
        """The rows and their order."""
        return Selection(text=self.q, sort=self.sort)


class FleetParameters(InventoryParameters):
    """`/api/pages/fleet`."""

    metric: Annotated[str, AfterValidator(one_of(METRICS, f"unknown metric. Use one of {', '.join(METRICS)}"))] = Field(
        Selection().metric, description=f"metric of the grid: {', '.join(METRICS)}"
    )
    gpu: str = Field("", description="the GPU that is open: host/gpu-index, or its UUID")

    @property
    def selection(self) -> Selection:
        """The metric of the grid, the rows of the inventory, and their order."""
        return Selection(self.metric, self.q, self.sort)


class CsvTraceParameters(TraceParameters):
    """`/api/csv/traces`."""

    limit: Annotated[int, BeforeValidator(whole(1, MAX_CSV_TRACES))] = Field(
        MAX_CSV_TRACES, ge=1, le=MAX_CSV_TRACES, description=f"1 to {MAX_CSV_TRACES}"
    )
    at: str = Field("", description="end of the range, where `end` is not given")
