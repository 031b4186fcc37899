"""The parameters of a trace list and of one trace."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Status, TraceQuery
from foreshock_dashboard.web.state.parameters import (
    MAX_VALUE_LENGTH,
    TIME,
    BadParameterError,
    DurationText,
    Flag,
    Parameters,
    one_of,
    refused,
    service_named,
    time_parameter,
    whole,
)

DEFAULT_RANGE_SECONDS = 900.0
"""Range of a trace list without `start`."""
MAX_SPANS = 5000
"""Spans of one trace in one answer; the rest is counted, and comes in the next."""
BY_WAIT: Literal["gpu_wait"] = "gpu_wait"
"""Order by GPU wait. No source supports it: `search` reads the slowest traces and sorts them."""
Order = Literal["slowest", "newest", "gpu_wait"]

_DURATION_FORM = "such as 250ms, 1.5s or plain seconds"
_known_order = one_of(get_args(Order), f"unknown order. Use newest, slowest, or {BY_WAIT}")
_STATUSES: tuple[Status, ...] = get_args(Status)
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


@dataclass(frozen=True, slots=True)
class WaitFilter:
    """A filter by GPU wait. least: seconds. first: the longest wait first."""

    least: float | None
    first: bool


def _attribute(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not key or not equals:
        raise ValueError("not KEY=VALUE, such as hw.id=GPU-8932f937")
    return text


def _status(text: str) -> str:
    if text.lower() not in _STATUSES:
        raise ValueError("unknown status. Use error, ok, or unset")
    return text.lower()


class TraceParameters(Parameters):
    """The filters of a trace list."""

    service: str = Field("", description="namespace/name, /name without a namespace, or name where it is unambiguous")
    operation: str = Field("", description="name of a span")
    attribute: list[Annotated[str, AfterValidator(_attribute)]] = Field(
        default_factory=list,
        description="KEY=VALUE: an attribute of the span, else of its resource; repeatable with other keys",
    )
    min_duration: DurationText = Field(None, description=f"minimum duration of the root span, {_DURATION_FORM}")
    max_duration: DurationText = Field(None, description=f"maximum duration of the root span, {_DURATION_FORM}")
    min_gpu_wait: DurationText = Field(
        None, description=f"minimum GPU wait, {_DURATION_FORM}; among the 500 slowest that match"
    )
    status: Annotated[Status | None, BeforeValidator(_status)] = Field(
        None, description="only traces with a span of this status: error, ok or unset"
    )
    errors: Flag = Field(False, description="true: the same as status=error")
    order: Annotated[Order, BeforeValidator(_known_order)] = Field(
        "newest",
        description="newest (default), slowest, or gpu_wait (longest GPU wait first)",
    )
    limit: Annotated[int, BeforeValidator(whole(1, 1000))] = Field(50, ge=1, le=1000, description="1 to 1000")
    start: str = Field("", description=f"{TIME}; default 15 minutes before end")
    end: str = Field("", description=f"{TIME}; default now")
    waits: Flag = Field(False, description="true: rows have gpu_wait_seconds as far as it is read in time")

    @field_validator("attribute")
    @classmethod
    def _once(cls, texts: list[str]) -> list[str]:
        keys = [text.partition("=")[0] for text in texts]
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise refused(f"attribute: {repeated[0]} is repeated. Use it once")
        return texts

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_duration and self.max_duration and self.min_duration > self.max_duration:
            raise refused("min_duration is longer than max_duration. Swap them")
        if self.errors and self.status not in (None, "error"):
            raise refused(f"errors=true conflicts with status={self.status}. Use one of them")
        return self

    def query(self, now: float, known: Collection[Service] = ()) -> TraceQuery:
        """The search that these parameters describe.

        known: today's services, which a name without a namespace may mean. Traces may be of others, so an unknown name
        matches in any namespace.

        Raises:
            BadParameterError: a time or the service cannot be read, or the range is upside down.
        """
        end = time_parameter("end", self.end, now, now)
        start = time_parameter("start", self.start, now, end - DEFAULT_RANGE_SECONDS)
        if start > end:
            raise BadParameterError(f"start={start:.0f} is after end={end:.0f}. Swap them")
        try:
            service = service_named(self.service, known) if self.service else None
        except ValueError as error:
            raise BadParameterError(f"service={self.service!r}: {error}") from None
        return TraceQuery(
            start=start,
            end=end,
            service=service or (Service("", self.service) if self.service else None),
            any_namespace=bool(self.service) and service is None,
            operation=self.operation or None,
            attributes=dict(text.split("=", 1) for text in self.attribute),
            min_duration=self.min_duration or None,
            max_duration=self.max_duration or None,
            status="error" if self.errors else self.status,
            order="newest" if self.order == "newest" else "slowest",
            limit=self.limit,
        )

    @property
    def wait_filter(self) -> WaitFilter | None:
        """The filter by GPU wait; None where the list is neither filtered nor ordered by it."""
        first = self.order == BY_WAIT
        return WaitFilter(self.min_gpu_wait or None, first) if first or self.min_gpu_wait else None


class SpanPage(Parameters):
    """A page of a trace's spans, ordered by start."""

    limit: Annotated[int, BeforeValidator(whole(1, MAX_SPANS))] = Field(
        MAX_SPANS,
        ge=1,
        le=MAX_SPANS,
        description=f"spans in this answer, 1 to {MAX_SPANS}, default {MAX_SPANS}; fewer if they are large",
    )
    offset: Annotated[int, BeforeValidator(whole(0, 10**9))] = Field(
        0, ge=0, description="spans to skip, by start; default 0. See next_offset"
    )


FIRST_PAGE = SpanPage.read({})


def trace_id_of(text: str) -> str:
    """A trace id as 32 lower-case hex characters; shorter ones get leading zeros, as some tools drop them.

    Raises:
        BadParameterError: it is no hexadecimal number of up to 32 digits.
    """
    if not _TRACE_ID.fullmatch(text):
        raise BadParameterError(f"trace id {text[:MAX_VALUE_LENGTH]!r}: not a hexadecimal number of up to 32 digits")
    return text.lower().zfill(32)
