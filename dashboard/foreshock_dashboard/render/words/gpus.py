"""Words of GPUs: faults, modes of sharing, and what a GPU wait means."""

from __future__ import annotations

from collections.abc import Mapping

GPU_FAULTS: Mapping[str, str] = {"lost": "lost", "failing": "failing", "throttled": "throttled"}
GPU_COUNTS: Mapping[str, str] = {
    "contended": "contended",
    "throttled": "throttled (thermal, power)",
    "errors": "with errors (15 min)",
    "lost": "lost (off the bus)",
    "no_data": "without data",
}
"""GPUs by their state, after their number."""
GPU_SHARING: Mapping[str, str] = {
    "time-slicing": "shared by time-slicing",
    "mps": "shared by MPS",
    "mig": "divided by MIG",
    "concurrent": "shared concurrently",
    "partitioned": "partitioned",
}
"""How services share a GPU, by the label of `gpu_info`."""
INCIDENT_MARKS: Mapping[str, str] = {
    "critical": "critical incident",
    "warning": "early warning",
    "recovering": "recovering incident",
}
"""Marks of a pair, by the status of its open incident."""
GPU_TEXTS: Mapping[str, str] = {
    "waits_too": "On a saturated GPU, each service waits while the others run: the noisy neighbor waits too.",
    "averages": "GPU wait: 30 s averages. Busy, contended, power: 1 min averages.",
    "contention_averages": "GPU wait: 30 s averages. Busy, contended: 1 min averages.",
    "contended": "contended: busy while 2 or more services want the GPU",
    "bound": "Upper bound: 30 s average over the shared GPUs.",
    "limits": (
        "Time lost is an upper bound and not measured per service. "
        "Resources and GPU wait overlap, so do not add them up."
    ),
    "serving_rows": "Rows: services with requests.",
    "batch": "Services without requests raise no alerts when they wait.",
    "shared_tiers": "{gpus} shared by several {groups}.",
    "cut": "{rows} x {columns} shown. The CSV has all pairs.",
    "missing": "Missing metrics: {names}.",
    "upper_bound": "GPU wait: share of time (upper bound).",
    "up_to": "up to {share} of the time",
    "no_wait": "No shared GPU, or no wait",
    "no_process": "no process seen",
    "unknown_gpu": "No GPU {name}.",
    "no_match": "No GPU matches {filter}.",
}
"""Texts of Fleet and Contention. `{names}` in braces stand for values."""
PAIR_TEXTS: Mapping[str, str] = {
    "waits": "{waiting} waits on {neighbor} {share} of the time ({of})",
    "no_wait": "{waiting} does not wait on {neighbor} ({gpus} shared).",
    "unknown": "No data on how long {waiting} waits on {neighbor} ({gpus} shared).",
    "no_contention": "No GPU contention: {pairs} of services share GPUs without waiting.",
    "normal": "The wait is within its normal range.",
    "other_cause": "GPU wait is not the suspected cause of the open incident ({cause}).",
    "latency": " p95 {p95} (median {median}).",
    "no_gpu": "{waiting} and {neighbor} share no GPU.",
}
"""The state of a service that waits on another one on the same GPU."""
HARDWARE_TEXTS: Mapping[str, str] = {
    "lost": "lost (the GPU has fallen off the bus)",
    "remap_failed": "row remapping failed (replace the GPU)",
    "remap_pending": "row remapping pending (needs a GPU reset)",
    "fault": "Hardware fault: {faults}.",
    "throttled": "Throttled {share} of the time.",
    "unknown": "Hardware health unknown: no data on errors or throttling.",
    "healthy": "Hardware healthy: no errors, no throttling.",
    "idle_sms": "{gpu} is busy {busy} of the time, but only {active} of its SMs have work.",
    "far_cpus": "{service} has {share} of its CPUs on the NUMA node of {gpu} (minimum {limit}){more}.",
}
"""The state of a GPU and of the host of its services."""
