"""A finished span of the simulation, in OpenTelemetry's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

AttributeValue = str | int | float | bool
Kind = Literal["client", "server", "internal"]
Status = Literal["unset", "error"]


@dataclass(frozen=True, slots=True)
class SimSpan:
    """One span. Ids are lower-case hex of 32 and 16 characters, `parent_id` "" at a root; times are Unix ns."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    status: Status
    status_message: str
    resource: Mapping[str, AttributeValue]
    attributes: Mapping[str, AttributeValue]
