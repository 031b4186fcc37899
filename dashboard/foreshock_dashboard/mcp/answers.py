"""The types of the answers: fields with units, from which the tools' output schemas are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.model.capacity.load import ShortageBasis
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.change import Stage
from foreshock_dashboard.model.cost.ledger import Holding
from foreshock_dashboard.model.incident import Cause, ConfidenceLevel, Quality, Severity, State
from foreshock_dashboard.model.types import ConditionKind, Health
from foreshock_dashboard.web.state.comparison import Entity

Time = Annotated[str | None, Field(description="UTC, RFC 3339; null: has not happened or is unknown")]
Seconds = Annotated[float | None, Field(description="seconds; null: unknown")]
Ratio = Annotated[float | None, Field(description="0 to 1; null: unknown")]
PerSecond = Annotated[float | None, Field(description="requests per second; null: unknown")]
Figure = Annotated[float | None, Field(description="in `unit`; null: unknown")]
StatedCause = Annotated[Cause | None, Field(description="null at low confidence: check the candidates first")]
GpuHours = Annotated[float | None, Field(description="null: unknown")]
Money = Annotated[float | None, Field(description="in `currency`; null: no price")]
Omitted = Annotated[int, Field(description="rows left out because the answer is bounded")]


class Answer(TypedDict):
    """Fields of every answer."""

    notice: Annotated[str, Field(description="which texts of the answer are untrusted")]
    data_time: Time
    simulated: Annotated[bool, Field(description="some of the data is simulated")]
    problem: Annotated[str, Field(description="why the answer may be stale or incomplete; empty if it is not")]


class IncidentRow(TypedDict):
    """An incident in a list."""

    id: str
    severity: Annotated[Severity, Field(description="critical pages; warning is an early warning")]
    state: State
    service: Annotated[str, Field(description="first service at risk or affected")]
    affected: list[str]
    headline: str
    cause: StatedCause
    cause_label: str
    suspect: Annotated[str, Field(description="suspected cause in words; empty at low confidence")]
    candidates: Annotated[list[str], Field(description="services to check at low confidence; else empty")]
    confidence: ConfidenceLevel
    opened: Time
    resolved: Time
    acknowledged_by: str | None
    action: Annotated[str | None, Field(description="first recommended action")]


class IncidentList(Answer):
    """Incidents: open ones, worst first, then resolved ones, newest first."""

    incidents: list[IncidentRow]
    omitted: Omitted


class ChangeRow(TypedDict):
    """A change that is the suspected cause."""

    text: str
    at: Time
    before: str
    after: str
    stage: Stage


class SuspectRow(TypedDict):
    """The suspected cause, and where it acts. call: `client -> server`."""

    text: str
    service: str | None
    gpus: list[str]
    pool: str | None
    call: str | None
    host: str | None
    change: ChangeRow | None


class CandidateRow(TypedDict):
    """A candidate for the root cause. score: its share of all suspicion, 0 to 1; no probability."""

    service: str
    score: float | None
    why: str


class EvidenceRow(TypedDict):
    """A signal that supports an incident, with its baseline."""

    text: str
    signal: str
    entity: str
    value: Figure
    baseline: Figure
    unit: str
    since: Time


class AtRiskRow(TypedDict):
    """A service that is forecast to breach its SLO. breach_seconds_p10, p90: bounds of the 80% interval."""

    service: str
    text: str
    breach_seconds_p10: Seconds
    breach_seconds_p50: Seconds
    breach_seconds_p90: Seconds


class ActionRow(TypedDict):
    """A recommended action, its expected effect, and the commands to take and to revert it. Nothing is executed.

    how: by how_kind, how to take it without a command, a note to read before the command, or how to revert it.
    """

    text: str
    why: str | None
    expected: str | None
    effective_seconds: Annotated[float | None, Field(description="seconds until the effect; null: unknown")]
    enough: Annotated[bool | None, Field(description="whether it alone brings the signal within its limit")]
    too_late: Annotated[bool, Field(description="whether the effect comes after the forecast breach")]
    command: str | None
    revert_command: str | None
    how: str | None
    how_kind: Literal["how", "note", "revert"]


class NoteRow(TypedDict):
    """A note of a person."""

    by: str
    at: Time
    text: str


class PeopleRow(TypedDict):
    """What people did about an incident, and the owner of its service; empty or null if not known."""

    owner: str
    acknowledged_by: str | None
    acknowledged_at: Time
    assignee: str | None
    silenced_until: Time
    notes: Annotated[list[NoteRow], Field(description="the newest 5")]


class IncidentExplanation(Answer):
    """One incident with its cause, evidence, forecast, and actions."""

    id: str
    severity: Severity
    state: State
    cascading: Annotated[bool, Field(description="other services breach their SLO, too, or did")]
    service: str
    headline: str
    summary: str
    cause: StatedCause
    cause_label: str
    confidence: ConfidenceLevel
    quality: Annotated[Quality, Field(description="how the values were obtained")]
    suspect: SuspectRow
    since: Annotated[Time, Field(description="first anomaly")]
    opened: Time
    paged: Time
    resolved: Time
    affected: list[str]
    at_risk: list[AtRiskRow]
    candidates: list[CandidateRow]
    evidence: list[EvidenceRow]
    actions: Annotated[list[ActionRow], Field(description="by time to effect, the soonest first")]
    people: PeopleRow
    omitted: Omitted


class ServiceAnswerRow(TypedDict):
    """A service: health, request figures, and its GPUs."""

    service: str
    health: Health
    condition: ConditionKind
    requests_per_second: PerSecond
    error_rate: Ratio
    p50_seconds: Seconds
    p95_seconds: Seconds
    p99_seconds: Seconds
    gpus: list[str]


class CallRow(TypedDict):
    """Calls of one service to another, as the client measures them."""

    client: str
    server: str
    requests_per_second: PerSecond
    error_rate: Ratio
    p95_seconds: Seconds
    server_p95_seconds: Annotated[float | None, Field(description="as the server measures it, in seconds")]
    attempts_per_call: Annotated[float | None, Field(description="1 without retries; null: unknown")]


class ServiceList(Answer):
    """Services, the unhealthiest first, and the calls of the named one."""

    services: list[ServiceAnswerRow]
    calls: list[CallRow]
    omitted: Omitted


class GpuShareRow(TypedDict):
    """A service on a GPU. gpu_wait_ratio: share of time that it waits for others on this GPU."""

    service: str
    busy_ratio: Ratio
    gpu_wait_ratio: Ratio
    memory_used_bytes: Annotated[float | None, Field(description="bytes; null: unknown")]
    local_cpus_ratio: Annotated[
        float | None, Field(description="share of its CPUs on the NUMA node of the GPU; null: unknown")
    ]


class GpuAnswerRow(TypedDict):
    """A GPU and the services on it. contended_ratio: share of time in which several services want it."""

    gpu: str
    model: str
    vendor: Annotated[str, Field(description="NVIDIA, AMD, or Intel; empty: unknown")]
    utilization_ratio: Ratio
    contended_ratio: Ratio
    memory_used_bytes: Annotated[float | None, Field(description="bytes; null: unknown")]
    memory_total_bytes: Annotated[float | None, Field(description="bytes; null: unknown")]
    power_watts: Annotated[float | None, Field(description="watts; null: unknown")]
    temperature_celsius: Annotated[float | None, Field(description="°C; null: unknown")]
    sharing: Annotated[
        str | None,
        Field(description="time-slicing, mps, mig, concurrent, partitioned, or unknown; null: no data"),
    ]
    mps: Annotated[str | None, Field(description="state of MPS with the remedy; null: the GPU never used it")]
    services: list[GpuShareRow]


class GpuList(Answer):
    """GPUs, the most contended first."""

    gpus: list[GpuAnswerRow]
    omitted: Omitted


class PairAnswerRow(TypedDict):
    """A service that waits for a noisy neighbor on shared GPUs."""

    affected: str
    noisy_neighbor: str
    gpu_wait_ratio: Annotated[
        float | None, Field(description="share of time, 0 to 1, mean over the GPUs; an upper bound; null: unknown")
    ]
    gpus: list[str]


class PairList(Answer):
    """Pairs of services that share GPUs, the longest waits first."""

    pairs: list[PairAnswerRow]
    omitted: Omitted


class LimitAnswerRow(TypedDict):
    """A resource at whose limit a service lost time. step: the first step against it."""

    service: str
    resource: str
    place: Annotated[str, Field(description="GPU, or host of CPU time")]
    wait_ratio: Annotated[float, Field(description="share of time lost, 0 to 1; an upper bound")]
    saturated_ratio: Annotated[
        float | None, Field(description="measured share of time at the limit, 0 to 1; null: unknown, or a host")
    ]
    shared_with: Annotated[list[str], Field(description="other services on the GPU")]
    step: str


class LimitList(Answer):
    """Losses of at least 5% of the last two minutes, the largest first. known: whether the metrics could be read."""

    known: bool
    limits: list[LimitAnswerRow]
    omitted: Omitted


class ComparedAnswerRow(TypedDict):
    """The median of a signal in both time ranges. ratio: of `value` to `baseline`."""

    kind: Entity
    entity: str
    signal: str
    unit: str
    baseline: Figure
    value: Figure
    ratio: float | None


class ComparedRange(TypedDict):
    """A compared time range. evaluations: how many values each median is of, at most."""

    start: Time
    end: Time
    evaluations: int


class RangeComparison(Answer):
    """Two time ranges side by side, the largest relative changes first."""

    baseline_range: ComparedRange
    range: ComparedRange
    rows: list[ComparedAnswerRow]
    omitted: Omitted


class RootCauses(Answer):
    """Ranked root causes of an anomaly. weak_candidates: within what is normal."""

    service: str | None
    at: Time
    confidence: ConfidenceLevel | None
    candidates: list[CandidateRow]
    weak_candidates: list[CandidateRow]
    missing: Annotated[list[str], Field(description="kinds of signals that no source has")]
    omitted: Omitted


class Postmortem(Answer):
    """A postmortem in Markdown, without its plots."""

    id: str
    markdown: str


class ShortageRow(TypedDict):
    """When load first exceeds the hourly safe limit, or the GPU quota of a pool."""

    service: Annotated[str | None, Field(description="null: the pool as a whole")]
    pool: str
    text: str
    basis: Annotated[
        ShortageBasis,
        Field(description="forecast: the median exceeds the limit; recent: it may, as load did in the last seven days"),
    ]
    at: Time
    earliest: Annotated[Time, Field(description="start of the 80% interval; null: unknown")]
    latest: Annotated[Time, Field(description="its end; null: unknown, or maybe not within 7 days")]
    act_by: Annotated[Time, Field(description="deadline to add replicas; null: unknown")]
    ready: Annotated[float | None, Field(description="ready replicas, or GPUs of a pool; null: unknown")]
    replicas: Annotated[int, Field(description="replicas to add, or GPUs to a pool")]
    room: Annotated[float | None, Field(description="replicas for which the pool has free GPUs; null: unknown")]


class AddedAnswer(TypedDict):
    """Replicas; null: unknown."""

    needed: Annotated[float | None, Field(description="in total")]
    added: Annotated[float | None, Field(description="beyond `ready`")]
    short: Annotated[float | None, Field(description="added beyond `room`")]


class NeedAnswer(TypedDict):
    """Within the safe limit. more_traffic: x 1.3. is_lower_bound: more may be needed."""

    peak: AddedAnswer
    more_traffic: AddedAnswer
    host_lost: AddedAnswer
    is_lower_bound: bool


class LoadNeedRow(TypedDict):
    service: str
    pool: str
    ready: Annotated[float | None, Field(description="replicas")]
    room: Annotated[float | None, Field(description="replicas that fit")]
    need: NeedAnswer


class FillingRow(TypedDict):
    """What fills up or runs out."""

    service: str | None
    name: Annotated[str, Field(description="of what has no service; SLI of an error budget; else empty")]
    kind: SlowBurnKind
    text: str
    at: Time


class CapacityAnswer(Answer):
    """reason: why there is no forecast, else empty."""

    case: Annotated[str, Field(description="what-if case; empty: the forecast")]
    summary: str
    reason: str
    notes: list[str]
    shortages: Annotated[list[ShortageRow], Field(description="earliest first")]
    slow_burns: Annotated[list[FillingRow], Field(description="earliest first")]
    loads: Annotated[list[LoadNeedRow], Field(description="most urgent first; without a forecast: measured")]
    omitted: Omitted


class HolderRow(TypedDict):
    """GPU-hours in the time range."""

    name: Annotated[str, Field(description="empty: see `holding`")]
    holding: Holding
    pool: str
    gpu_hours: Annotated[GpuHours, Field(description="busy + waiting + idle + unallocated + unknown")]
    busy_gpu_hours: GpuHours
    waiting_gpu_hours: GpuHours
    idle_gpu_hours: GpuHours
    unallocated_gpu_hours: GpuHours
    unknown_gpu_hours: GpuHours
    cost: Money


class UnusedRow(TypedDict):
    """GPUs of a service without any kernel until now. Per day: what giving them back saves; null before 24 h."""

    service: str | None
    pool: str
    gpus: Annotated[float | None, Field(description="GPUs at a time")]
    gpu_hours_per_day: GpuHours
    cost_per_day: Money
    quality: Quality
    text: str
    action: str
    command: str | None


class CostAnswer(Answer):
    """GPU time and its cost. reason: why there is none."""

    summary: str
    split: str
    reason: str
    notes: list[str]
    currency: str
    idle: str
    rows: Annotated[list[HolderRow], Field(description="the highest cost first")]
    unused: Annotated[list[UnusedRow], Field(description="the highest cost first")]
    omitted: Omitted
