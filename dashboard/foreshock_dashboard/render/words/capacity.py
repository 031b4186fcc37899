"""Words of the capacity forecast: kinds of load, units, and slow burns."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.capacity.load import LoadKind
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.types import SafeLimitBasis

LOAD_KINDS: Mapping[LoadKind, str] = {
    LoadKind.REQUESTS: "requests/s",
    LoadKind.TOKENS: "generated tokens/s",
    LoadKind.KV_CACHE: "KV cache usage",
    LoadKind.QUEUE: "queued requests",
    LoadKind.GPU_BUSY: "busy GPUs",
    LoadKind.GPU_QUOTA: "GPUs used from the quota",
}
SAFE_LIMITS: Mapping[LoadKind, str] = {
    LoadKind.REQUESTS: "hourly safe limit",
    LoadKind.TOKENS: "hourly safe limit",
    LoadKind.GPU_QUOTA: "GPU quota",
}
"""What a shortage exceeds, of the kinds that have a limit. That of a load of seconds (`safe_limits`) may be higher."""
SAFE_LIMIT_NOTES: Mapping[SafeLimitBasis, str] = {"capacity": "", "bursts": "bursty load", "peak": "own peak"}
"""Why the safe limit of a service is above that of others, by what it rests on."""
LOAD_UNITS: Mapping[LoadKind, str] = {
    LoadKind.REQUESTS: "req/s",
    LoadKind.TOKENS: "tokens/s",
    LoadKind.KV_CACHE: "ratio",
    LoadKind.QUEUE: "count",
    LoadKind.GPU_BUSY: "GPUs",
    LoadKind.GPU_QUOTA: "GPUs",
}
SLOW_BURNS: Mapping[SlowBurnKind, tuple[str, str]] = {
    SlowBurnKind.HOST_MEMORY: ("Host memory", "fills up"),
    SlowBurnKind.GPU_MEMORY: ("GPU memory", "fills up"),
    SlowBurnKind.MEMORY: ("Pod memory", "reaches its limit"),
    SlowBurnKind.FILE_DESCRIPTORS: ("Open files", "reach their limit"),
    SlowBurnKind.DISK: ("Volume", "fills up"),
    SlowBurnKind.HOST_DISK: ("Disk", "fills up"),
    SlowBurnKind.KV_CACHE: ("Leaked KV cache blocks", "fill the KV cache"),
    SlowBurnKind.QUOTA: ("Quota", "fills up"),
    SlowBurnKind.ERROR_BUDGET: ("Error budget", "runs out"),
    SlowBurnKind.QUEUE: ("Queue", "doubles"),
    SlowBurnKind.CERTIFICATE: ("Certificate", "expires"),
}
"""What fills up or runs out, and what happens to it."""
LIMIT_METRICS = ("running requests", "time per output token", "KV cache usage")
"""Metrics of model servers from which a safe limit is learned."""
SLOW_BURN_USE = "Used"
SLOW_BURN_USES: Mapping[SlowBurnKind, str] = {SlowBurnKind.ERROR_BUDGET: "Spent", SlowBurnKind.QUEUE: "Waiting"}
"""What the value of a slow burn is, where it is not `SLOW_BURN_USE`."""
_RESTART = "During off-peak hours, restart the process whose usage is growing. Then fix the leak."
SLOW_BURN_ACTIONS: Mapping[SlowBurnKind, str] = {
    SlowBurnKind.HOST_MEMORY: _RESTART,
    SlowBurnKind.GPU_MEMORY: _RESTART,
    SlowBurnKind.MEMORY: _RESTART,
    SlowBurnKind.FILE_DESCRIPTORS: _RESTART,
    SlowBurnKind.DISK: "Delete or move old data, or enlarge the volume.",
    SlowBurnKind.HOST_DISK: "Delete or move old data, or enlarge the disk.",
    SlowBurnKind.KV_CACHE: (
        "Restart the model servers during off-peak hours, then upgrade or roll back the server software."
    ),
    SlowBurnKind.QUOTA: "Delete unused objects, or raise the quota.",
    SlowBurnKind.ERROR_BUDGET: "Fix or roll back the change that violates the SLO.",
    SlowBurnKind.QUEUE: "Add consumers or replicas, or limit incoming requests.",
    SlowBurnKind.CERTIFICATE: "Find out why the certificate has not been renewed, and renew it.",
}
"""First step against each kind, as in the runbook."""
SLOW_BURN_RUNBOOK = "ForeshockResourceFillingUp"
SLOW_BURN_RUNBOOKS: Mapping[SlowBurnKind, str] = {SlowBurnKind.ERROR_BUDGET: "ForeshockSLOSlowBurn"}
"""Runbooks of slow burns, where it is not `SLOW_BURN_RUNBOOK`."""
SLOW_BURN_OVER = "no slow burn forecast"
SLOW_BURN_UNKNOWN = "no data for 24 h"
"""What a message says at the end of slow burns, by whether they have data."""
BURN_UNITS: Mapping[SlowBurnKind, str] = {SlowBurnKind.QUEUE: "count", SlowBurnKind.CERTIFICATE: "s"}
"""Units of kinds that are no ratio."""
CAPACITY_TEXTS: Mapping[str, str] = {
    "today": "today",
    "tomorrow": "tomorrow",
    "at": "at",
    "now": "now",
    "of_safe": "of hourly safe limit",
    "upper": "80% upper bound",
    "no_capacity": "no capacity",
    "none": "none in 7 days",
    "expired": "expired",
    "may_be": "may be",
    "recent": "exceeded in the last 7 days",
    "unknown": "unknown",
    "past": "No capacity forecast for past times. Choose a time range that ends now.",
    "no_forecast": "No capacity forecast for this service.",
    "replay": "Replays have no capacity forecast, because it needs at least 24 h of live history.",
    "no_slow_burns": "No resource is forecast to fill up or run out within 7 days.",
    "no_limit": "no hourly safe limit known",
    "not_listed": "Not listed: {services} without a model server ({names}). Capacity is learned from model servers.",
    "not_learned": "limit not learned",
    "not_learned_of": "Limit not learned: {services}. {why}",
    "no_limit_metrics": "Missing from the model servers: {metrics}.",
    "no_load_range": "Not enough samples under varying load yet.",
    "ready": "Ready",
    "ready_narrow": "{ready} ready",
    "room_narrow": "pool has room for {room}",
    "no_room_narrow": "room in pool unknown",
    "enough": "enough",
    "in_all": "{needed} in total",
    "data_of": "{time} of data",
    "in_all_short": "{needed} in total, {short} short",
    "needed_peak": "Needed at peak of {time}",
    "needed_peak_start": "Needed at peak since start of data ({time})",
    "needed_peak_hint": (
        "replicas to add to stay within the safe limit at that peak; "
        "if a shortage is forecast, the peak is that of the first day with a shortage"
    ),
    "more_traffic": "Traffic x 1.3",
    "more_traffic_hint": "replicas to add if that peak were 1.3 times as high",
    "host_lost": "One host lost at peak",
    "host_lost_hint": (
        "replicas to add on other hosts to survive, at that peak, the loss of the host that runs most of them; "
        "existing replicas stay where they are"
    ),
    "room": "Pool has room for",
    "room_hint": "additional replicas that the pool has free GPUs for",
    "at_limit": "at the limit",
    "overloaded": "overloaded",
    "safe_limit": (
        "highest two-minute mean load that still leaves room for bursts; "
        "higher for bursty load, and for a service that has handled more"
    ),
    "peak": "peak",
    "point_at_hour": "Point at an hour or use the arrow keys to see its values. Select a strip to see its chart.",
    "tap_hour": "Tap an hour to see its values and chart.",
    "what_if": "What if",
}
"""Texts of the Capacity page."""
