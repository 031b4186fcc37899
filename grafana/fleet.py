"""The fleet dashboard: GPUs, model servers, and networks, and the health of foreshock itself."""

from __future__ import annotations

from grafana.panels import Dashboard, Link, Panel, Query, Row, Variable
from grafana.promql import HOST, SERVICE, TIME, TO_SERVICE, TO_TRACES, named, placed, rate

GPU = "{{instance}} GPU {{gpu}}"
OUTWARD = 'device!="lo"'
BAD: tuple[tuple[float, str], ...] = ((1, "red"),)
OF_A_HOST = Link("GPU page", "${hub:raw}/fleet?gpu=${__data.fields.Host}/gpu-${__data.fields.GPU}&" + TIME)
INCIDENT = Link("Incident page", "${hub:raw}/cascade?incident=${__data.fields.Incident:percentencode}&" + TIME)
INCIDENTS = Panel(
    "Incidents",
    "Open incidents of the hub with severity, state, and suspected cause, or candidates at low confidence. An empty "
    "table means that no incidents are open, if the hub is up.",
    (Query(named("max without (instance, job) (foreshock_incident_info)")),),
    "none", "table", 24, 6,
    links=(INCIDENT,),
    columns={
        "severity": "Severity", "state": "State", "service": "Service", "cascading": "Cascading",
        "cause": "Suspected cause", "suspect": "Suspect", "confidence_level": "Confidence", "candidates": "Candidates",
        "id": "Incident",
    },
)  # fmt: skip


def _share(title: str, description: str, counter: str) -> Panel:
    """A share of time of each GPU, from a counter of seconds."""
    return Panel(title, description, (Query(rate(counter, HOST), GPU),), "percentunit", width=8, most=1)


def _cost(figure: str) -> str:
    """A figure of the last 24 h by line, of one of the hubs."""
    return f"max without (instance, job) (foreshock_cost_{figure})"


def _ratio(figure: str) -> str:
    return f"sum({_cost(figure)}) / (sum({_cost('allocated_gpu_seconds')}) > 0)"


NOW = Row(
    "Now",
    (
        Panel(
            "Open incidents",
            "Open incidents of the hub, including early warnings. No data means that no hub is up.",
            (Query("sum(max without (instance, job) (foreshock_incidents))"),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "GPUs present",
            "GPUs that responded to the last sample.",
            (Query(f"sum(gpus_present{{{HOST}}})"),),
            "short", "stat", 4, 4,
        ),
        Panel(
            "GPUs lost",
            "Known GPUs that do not respond to the driver.",
            (Query(f"sum(gpus_expected{{{HOST}}}) - sum(gpus_present{{{HOST}}})"),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "Exporters down",
            "Targets of the job foreshock-exporter that do not respond to scrapes.",
            (Query('count(up{job="foreshock-exporter"} == 0) or 0 * count(up{job="foreshock-exporter"})'),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "Mock exporters",
            "Exporters that run with --mock: their GPUs are not real.",
            (Query(f"sum(foreshock_exporter_mock{{{HOST}}})"),),
            "short", "stat", 4, 4, ((1, "blue"),),
        ),
        Panel(
            "Failing hubs",
            "Hubs whose last evaluation failed or whose store is not writable: their incidents are stale.",
            (Query("sum(foreshock_evaluation_success * foreshock_store_healthy == bool 0)"),),
            "short", "stat", 4, 4, BAD,
        ),
        INCIDENTS,
    ),
)  # fmt: skip
GPUS = Row(
    "GPUs",
    (
        Panel(
            "GPUs",
            "Utilization and contention over the last minutes; current values for everything else.",
            (
                Query(placed(rate("gpu_busy_seconds_total", HOST)), name="busy", unit="percentunit"),
                Query(placed(rate("gpu_contended_seconds_total", HOST)), name="contended", unit="percentunit"),
                Query(
                    placed(f"gpu_memory_used_bytes{{{HOST}}} / (gpu_memory_total_bytes{{{HOST}}} > 0)"),
                    name="memory", unit="percentunit",
                ),
                Query(placed(f"gpu_power_watts{{{HOST}}}"), name="power", unit="watt"),
                Query(placed(f'sum without (sensor) (gpu_temperature_celsius{{{HOST},sensor="gpu"}})'),
                      name="temperature", unit="celsius"),
            ),
            "none", "table", 24, 9,
            links=(OF_A_HOST,),
            columns={
                "host_name": "Host", "gpu": "GPU", "uuid": "UUID", "Value #busy": "Utilization",
                "Value #contended": "Contended", "Value #memory": "Memory used", "Value #power": "Power",
                "Value #temperature": "Temperature",
            },
        ),
        _share(
            "GPU utilization",
            "Share of time during which a kernel ran. Counters include every burst between scrapes.",
            "gpu_busy_seconds_total",
        ),
        _share(
            "GPU contention",
            "Share of time at ≥ 90% utilization with two active services. No data under MPS and MIG.",
            "gpu_contended_seconds_total",
        ),
        Panel(
            "GPU memory used",
            "Share of device memory. Inference servers reserve it, so a high value is normal.",
            (Query(f"gpu_memory_used_bytes{{{HOST}}} / (gpu_memory_total_bytes{{{HOST}}} > 0)", GPU),),
            "percentunit", width=8, most=1,
        ),
        _share(
            "SM activity",
            "Share of SMs with work. A GPU counts as busy even if a kernel uses one SM. Hopper and newer.",
            "gpu_sm_active_seconds_total",
        ),
        _share(
            "Tensor pipe activity",
            "Share of time in tensor operations, averaged over the SMs. Hopper and newer.",
            "gpu_tensor_active_seconds_total",
        ),
        _share(
            "DRAM bandwidth",
            "Bandwidth of device memory in use, as a share of its maximum. Hopper and newer.",
            "gpu_dram_active_seconds_total",
        ),
        Panel(
            "GPU power",
            "Power draw of each GPU.",
            (Query(f"gpu_power_watts{{{HOST}}}", GPU),),
            "watt", width=8,
        ),
        Panel(
            "GPU temperature",
            "Temperature of the GPU core.",
            (Query(f'gpu_temperature_celsius{{{HOST},sensor="gpu"}}', GPU),),
            "celsius", width=8,
        ),
        Panel(
            "GPU throttling",
            "Share of time during which clocks were throttled, by reason.",
            (Query(rate("gpu_throttled_seconds_total", HOST), f"{GPU}: {{{{reason}}}}"),),
            "percentunit", width=8, most=1,
        ),
    ),
)  # fmt: skip
SERVERS = Row(
    "Model servers",
    (
        Panel(
            "KV cache usage",
            "Usage of the fullest replica. Near 100%, requests queue or are preempted.",
            (Query(named(f"max by (service_namespace, service_name) (vllm:kv_cache_usage_perc{{{SERVICE}}})"),
                   "{{service}}"),),
            "percentunit", width=8, most=1, links=(TO_SERVICE, TO_TRACES),
        ),
        Panel(
            "Queued requests",
            "Requests queued at all replicas of a model server.",
            (Query(named(f"sum by (service_namespace, service_name) (vllm:num_requests_waiting{{{SERVICE}}})"),
                   "{{service}}"),),
            "short", width=8, links=(TO_SERVICE, TO_TRACES),
        ),
        Panel(
            "Preemptions per second",
            "Requests evicted from the KV cache and computed again.",
            (Query(named(f"sum by (service_namespace, service_name) ({rate('vllm:num_preemptions_total', SERVICE)})"),
                   "{{service}}"),),
            "cps", width=8, links=(TO_SERVICE, TO_TRACES),
        ),
    ),
)  # fmt: skip
NETWORK = Row(
    "Host network",
    (
        Panel(
            "Network throughput",
            "Bytes per second of all interfaces of a host except loopback.",
            tuple(
                Query(f"sum by (instance) ({rate(f'node_network_{way}_bytes_total', HOST, OUTWARD)})",
                      f"{{{{instance}}}} {way}")
                for way in ("transmit", "receive")
            ),
            "Bps", width=8,
        ),
        Panel(
            "Dropped packets per second",
            "Packets dropped on transmit or receive, by interface.",
            (
                Query(
                    f"{rate('node_network_receive_drop_total', HOST)}"
                    f" + {rate('node_network_transmit_drop_total', HOST)}",
                    "{{instance}} {{device}}",
                ),
            ),
            "pps", width=8,
        ),
        Panel(
            "TCP retransmit ratio",
            "Share of a host's TCP segments that are retransmitted.",
            (Query(f"{rate('node_netstat_Tcp_RetransSegs', HOST)} / ({rate('node_netstat_Tcp_OutSegs', HOST)} > 0)",
                   "{{instance}}"),),
            "percentunit", width=8,
        ),
    ),
)  # fmt: skip
COST = Row(
    "Cost and idle time, last 24 h",
    (
        Panel(
            "Busy",
            "Share of GPU time in which a kernel ran.",
            (Query(_ratio("busy_gpu_seconds")),),
            "percentunit", "stat", 4, 4,
        ),
        Panel(
            "Idle",
            "Share of GPU time that services held while neither busy nor waiting.",
            (Query(_ratio("idle_gpu_seconds")),),
            "percentunit", "stat", 4, 4,
        ),
        Panel(
            "Waiting",
            "Share of GPU time that services held but waited for noisy neighbors.",
            (Query(_ratio("waiting_gpu_seconds")),),
            "percentunit", "stat", 4, 4,
        ),
        Panel(
            "Unallocated",
            "Share of GPU time that no service held.",
            (Query(_ratio('allocated_gpu_seconds{holding="unallocated"}')),),
            "percentunit", "stat", 4, 4,
        ),
        Panel(
            "Unused GPUs",
            "GPUs that services currently hold without running any kernel.",
            (Query(f"sum({_cost('unused_gpus')}) or 0 * sum({_cost('allocated_gpu_seconds')})"),),
            "short", "stat", 4, 4, ((1, "orange"),),
        ),
        Panel(
            "Price",
            "Cost of all GPU time, in the currency of --prices. No data if no prices are set.",
            (Query(f"sum({_cost('gpu_money')})"),),
            "short", "stat", 4, 4,
        ),
        Panel(
            "GPU time by service",
            "GPU-hours that each service held, and how it used them. The Cost page explains the figures.",
            (
                *(
                    Query(named(f"{_cost(f'{figure}_gpu_seconds')} / 3600"), name=figure)
                    for figure in ("allocated", "busy", "waiting", "idle")
                ),
                Query(named(f"{_cost('energy_joules')} / 3.6e6"), name="energy"),
                Query(named(_cost("gpu_money")), name="price"),
                Query(named(_cost("unused_gpus")), name="unused"),
            ),
            "short", "table", 24, 9,
            columns={
                "service": "Service", "pool": "Pool", "model": "GPU model", "holding": "Held by",
                "Value #allocated": "GPU-hours", "Value #busy": "Busy", "Value #waiting": "Waiting",
                "Value #idle": "Idle", "Value #energy": "Energy (kWh)", "Value #price": "Price",
                "Value #unused": "Unused GPUs",
            },
        ),
    ),
)  # fmt: skip
HEALTH = Row(
    "Health of foreshock",
    (
        Panel(
            "Failing collectors",
            "Exporter collectors whose last run failed: their metrics are missing or incomplete.",
            (Query(f"sum by (collector) (1 - foreshock_exporter_collector_success{{{HOST}}})", "{{collector}}"),),
            "short", width=8,
        ),
        Panel(
            "Baseline history",
            "Baseline history as a share of the history required. Below 100%, the hub does not alert.",
            (Query("foreshock_baseline_history_seconds / (foreshock_baseline_required_seconds > 0)", "{{instance}}"),),
            "percentunit", width=8,
        ),
        Panel(
            "Evaluation duration",
            "Mean duration of the hub's evaluations. Above the evaluation interval, the hub falls behind.",
            (
                Query(
                    f"{rate('foreshock_evaluation_duration_seconds_sum')}"
                    f" / {rate('foreshock_evaluation_duration_seconds_count')}",
                    "{{instance}}",
                ),
            ),
            "s", width=8,
        ),
    ),
)  # fmt: skip
FLEET = Dashboard(
    uid="foreshock-fleet",
    title="foreshock / Fleet",
    description="GPUs, model servers, and networks of the fleet, and the health of foreshock.",
    page="/fleet",
    variables=(
        Variable("instance", "Host", "gpu_info", "instance"),
        Variable("service", "Service", "gpu_service_busy_seconds_total", "service_name"),
    ),
    rows=(NOW, GPUS, SERVERS, COST, NETWORK, HEALTH),
)
