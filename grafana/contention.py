"""The contention dashboard: GPU wait of each pair of services, GPU time and memory, and latency."""

from __future__ import annotations

from grafana.fleet import GPU, INCIDENTS
from grafana.panels import Dashboard, Link, Panel, Query, Row, Variable
from grafana.promql import (
    BY_SERVICE,
    HOST,
    SERVED,
    SERVICE,
    TIME,
    TO_SERVICE,
    TO_TRACES,
    named,
    p95,
    rate,
)

BY = 'aggressor_name=~"$aggressor"'
PAIRS = f"{BY_SERVICE}, aggressor_namespace, aggressor_name"
PAIR_PAGE = "${hub:raw}/contention?victim=%s&aggressor=%s&" + TIME
OF_ROW = Link("Pair page", PAIR_PAGE % ("${__data.fields.Service:raw}", "${__data.fields.Neighbor:raw}"))
OF_SERIES = Link("Pair page", PAIR_PAGE % ("${__field.labels.service:raw}", "${__field.labels.aggressor:raw}"))
SERVICE_LINKS = (TO_SERVICE, TO_TRACES)


def pairs(expr: str) -> str:
    """`expr` with `service` and `aggressor` as one label each."""
    return named(named(expr), "aggressor", "aggressor_namespace", "aggressor_name")


GPU_WAIT = Row(
    "GPU wait",
    (
        Panel(
            "GPU wait by service pair",
            "Share of time that a service waits on a neighbor (upper bound by the hub, averaged over shared GPUs).",
            (Query(pairs(f"sort_desc(max by ({PAIRS}, pool) (foreshock_gpu_wait_ratio{{{SERVICE},{BY}}}))")),),
            "percentunit", "table", 8, 9,
            links=(OF_ROW,),
            columns={"service": "Service", "aggressor": "Neighbor", "pool": "Pool", "Value": "GPU wait"},
        ),
        Panel(
            "GPU wait on the worst GPU",
            "Share of time that a service waits on a neighbor, on its worst GPU (upper bound).",
            (
                Query(
                    pairs(
                        f"max by ({PAIRS}) (sum by (instance, uuid, {PAIRS}) "
                        f"({rate('gpu_service_wait_by_aggressor_seconds_total', HOST, SERVICE, BY)}))"
                    ),
                    "{{service}} on {{aggressor}}",
                ),
            ),
            "percentunit", width=8, height=9, most=1, links=(OF_SERIES,),
        ),
        Panel(
            "p95 latency over baseline",
            "Ratio of p95 to its median over the previous hour; 1 is normal.",
            (Query(named(f"service:request_duration_slowdown:ratio_rate5m{{{SERVICE}}}"), "{{service}}"),),
            "none", width=8, height=9, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
GPU_SHARES = Row(
    "GPU time and memory",
    (
        Panel(
            "GPU time by service",
            "GPUs kept busy by each service: 2 is two GPUs at 100%.",
            (
                Query(named(f"sum by ({BY_SERVICE}) ({rate('gpu_service_busy_seconds_total', HOST)})"), "{{service}}"),
                Query(f"sum({rate('gpu_unattributed_busy_seconds_total', HOST)})", "(unattributed)"),
            ),
            "short", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "GPU memory by service",
            "Device memory used by the processes of each service.",
            (Query(named(f"sum by ({BY_SERVICE}) (gpu_service_memory_used_bytes{{{HOST}}})"), "{{service}}"),),
            "bytes", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "GPU contention",
            "Share of time at ≥ 90% utilization with two active services. No data under MPS and MIG.",
            (Query(rate("gpu_contended_seconds_total", HOST), GPU),),
            "percentunit", width=8, most=1,
        ),
        Panel(
            "Services by GPU",
            "Busy time and GPU wait of each service over the last minutes, as a share of time.",
            tuple(
                Query(named(f"sum by (instance, gpu, {BY_SERVICE}) ({rate(metric, HOST)})"), name=name)
                for name, metric in (
                    ("busy", "gpu_service_busy_seconds_total"), ("wait", "gpu_service_wait_seconds_total"),
                )
            ),
            "percentunit", "table", 24, 8,
            links=(Link("Service page", "${hub:raw}/services/${__data.fields.Service:raw}?" + TIME),),
            columns={
                "instance": "Host", "gpu": "GPU", "service": "Service", "Value #busy": "Busy",
                "Value #wait": "GPU wait",
            },
        ),
    ),
)  # fmt: skip


def pressure(title: str, metric: str, waited_for: str) -> Panel:
    """Panel of the share of time that a service waited, by a counter of seconds of its cgroup."""
    return Panel(
        title,
        f"Share of time that a task of the service waited for {waited_for}, on its worst host.",
        (Query(named(f"max by ({BY_SERVICE}) ({rate(metric, HOST, SERVICE)})"), "{{service}}"),),
        "percentunit", width=6, most=1, links=SERVICE_LINKS,
    )  # fmt: skip


LIMITS = Row(
    "Other resources at their limit",
    (
        Panel(
            "Resources at their limit by GPU",
            "Share of time at the limit of DRAM, PCIe, or NVLink bandwidth, or of the power limit.",
            (Query(rate("gpu_resource_saturated_seconds_total", HOST), f"{GPU} {{{{resource}}}}"),),
            "percentunit", width=12, most=1,
        ),
        Panel(
            "Time lost by service",
            "Share of time lost to other services at the limit of a resource, on the worst GPU (upper bound).",
            (
                Query(
                    named(
                        f"max by ({BY_SERVICE}, resource) "
                        f"({rate('gpu_service_resource_wait_seconds_total', HOST, SERVICE)})"
                    ),
                    "{{service}} {{resource}}",
                ),
            ),
            "percentunit", width=12, most=1, links=SERVICE_LINKS,
        ),
        pressure("CPU pressure by service", "gpu_service_cpu_waiting_seconds_total", "a CPU"),
        pressure("Storage pressure by service", "gpu_service_host_io_waiting_seconds_total", "storage"),
        pressure("Host memory pressure by service", "gpu_service_host_memory_waiting_seconds_total", "host memory"),
        Panel(
            "Page cache refaults by service",
            "Pages per second read again after eviction from the page cache. "
            "If storage pressure is high, the page cache is too small.",
            (
                Query(
                    named(f"max by ({BY_SERVICE}) ({rate('gpu_service_page_cache_refaults_total', HOST, SERVICE)})"),
                    "{{service}}",
                ),
            ),
            "cps", width=6, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
LATENCY = Row(
    "Latency",
    (
        Panel(
            "p95 latency",
            "Seen by the service. A dot is one request and links to its trace.",
            (
                Query(
                    named(p95("traces_span_metrics_duration_seconds", BY_SERVICE, SERVICE, SERVED)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "p95 time to first token (TTFT)",
            "Seen by the callers of model servers. A dot is one request and links to its trace.",
            (
                Query(
                    named(p95("foreshock_llm_time_to_first_token_seconds", BY_SERVICE, SERVICE)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "p95 queue time",
            "From arrival at the model server until computation starts. A dot is one request and links to its trace.",
            (
                Query(
                    named(p95("foreshock_llm_queue_duration_seconds", BY_SERVICE, SERVICE)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
CONTENTION = Dashboard(
    uid="foreshock-contention",
    title="foreshock / Contention",
    description="GPU wait between services on shared GPUs, GPU time and memory by service, and latency.",
    page="/contention",
    variables=(
        Variable("instance", "Host", "gpu_info", "instance"),
        Variable("service", "Service", "gpu_service_busy_seconds_total", "service_name"),
        Variable("aggressor", "Neighbor", "gpu_service_wait_by_aggressor_seconds_total", "aggressor_name"),
    ),
    rows=(GPU_WAIT, GPU_SHARES, LIMITS, LATENCY, Row("Incidents", (INCIDENTS,))),
)
