"""The board of a fleet: its GPUs, model servers and networks, and whether foreshock itself can see them."""

from __future__ import annotations

from grafana.board import Board, Link, Panel, Query, Row, Variable
from grafana.promql import HOST, SERVICE, TIME, TO_SERVICE, TO_TRACES, named, placed, rate

GPU = "{{instance}} gpu {{gpu}}"
OUTWARD = 'device!="lo"'
BAD: tuple[tuple[float, str], ...] = ((1, "red"),)
OF_A_HOST = Link("The GPU's page", "${hub:raw}/fleet?gpu=${__data.fields.Host}/gpu-${__data.fields.GPU}&" + TIME)
INCIDENT = Link("The incident's page", "${hub:raw}/cascade?incident=${__data.fields.Incident:percentencode}&" + TIME)
INCIDENTS = Panel(
    "Incidents",
    "What the hub has open: who suffers, by whose doing, and how far it has gone. Empty is good news only while the "
    "hub answers.",
    (Query(named("max without (instance, job) (foreshock_incident)", "suffers", "victim_namespace", "victim_name")),),
    "none", "table", 24, 6,
    links=(INCIDENT,),
    columns={
        "severity": "Severity", "cascading": "Cascading", "suffers": "Suffers",
        "culprit": "Culprit", "cause": "Cause", "id": "Incident",
    },
)  # fmt: skip
NOW = Row(
    "Now",
    (
        Panel(
            "Open incidents",
            "Incidents that the hub has open. 0 is good news only while the hub answers.",
            (Query("count(max without (instance, job) (foreshock_incident)) or 0 * sum(foreshock_tick_failed)"),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "GPUs that answer",
            "GPUs that answered the last sample.",
            (Query(f"sum(gpus_present{{{HOST}}})"),),
            "short", "stat", 4, 4,
        ),
        Panel(
            "GPUs lost",
            "GPUs that were seen and no longer answer.",
            (Query(f"sum(gpus_expected{{{HOST}}}) - sum(gpus_present{{{HOST}}})"),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "Exporters that do not answer",
            "Targets of the job foreshock-exporter that Prometheus cannot scrape.",
            (Query('count(up{job="foreshock-exporter"} == 0) or 0 * count(up{job="foreshock-exporter"})'),),
            "short", "stat", 4, 4, BAD,
        ),
        Panel(
            "Simulated hosts",
            "Exporters that run with --mock. Their GPUs are not real.",
            (Query(f"sum(foreshock_exporter_mock{{{HOST}}})"),),
            "short", "stat", 4, 4, ((1, "blue"),),
        ),
        Panel(
            "The hub cannot read",
            "Hubs whose last tick failed or whose store does not take data. Their incidents are old.",
            (Query("sum((foreshock_tick_failed + foreshock_store_failing) > bool 0)"),),
            "short", "stat", 4, 4, BAD,
        ),
        INCIDENTS,
    ),
)  # fmt: skip
GPUS = Row(
    "GPUs",
    (
        Panel(
            "Every GPU",
            "Busy and contended over the last minutes, the rest as it is now.",
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
                "host_name": "Host", "gpu": "GPU", "uuid": "UUID", "Value #busy": "Busy",
                "Value #contended": "Contended", "Value #memory": "Memory in use", "Value #power": "Power",
                "Value #temperature": "Temperature",
            },
        ),
        Panel(
            "Busy",
            "Share of time during which a kernel ran; no burst escapes.",
            (Query(rate("gpu_busy_seconds_total", HOST), GPU),),
            "percentunit", width=8, most=1,
        ),
        Panel(
            "Contended",
            "Share of time at 90 % busy or more with two services active. Absent under MPS and MIG.",
            (Query(rate("gpu_contended_seconds_total", HOST), GPU),),
            "percentunit", width=8, most=1,
        ),
        Panel(
            "Memory in use",
            "Share of device memory. Inference servers take what they are told to: high is no alarm.",
            (Query(f"gpu_memory_used_bytes{{{HOST}}} / (gpu_memory_total_bytes{{{HOST}}} > 0)", GPU),),
            "percentunit", width=8, most=1,
        ),
        Panel(
            "Power",
            "Power drawn by each GPU.",
            (Query(f"gpu_power_watts{{{HOST}}}", GPU),),
            "watt", width=8,
        ),
        Panel(
            "Temperature",
            "Of the GPU's core.",
            (Query(f'gpu_temperature_celsius{{{HOST},sensor="gpu"}}', GPU),),
            "celsius", width=8,
        ),
        Panel(
            "Held down",
            "Share of time for which clocks were held down, by reason.",
            (Query(rate("gpu_throttled_seconds_total", HOST), f"{GPU}: {{{{reason}}}}"),),
            "percentunit", width=8, most=1,
        ),
    ),
)  # fmt: skip
SERVERS = Row(
    "Model servers",
    (
        Panel(
            "Memory for keys and values",
            "Share in use, of the replica where it is highest. Near 1 requests wait, or are put off and done again.",
            (Query(named(f"max by (service_namespace, service_name) (vllm:kv_cache_usage_perc{{{SERVICE}}})"),
                   "{{service}}"),),
            "percentunit", width=8, most=1, links=(TO_SERVICE, TO_TRACES),
        ),
        Panel(
            "Requests that wait",
            "In the queues of all replicas.",
            (Query(named(f"sum by (service_namespace, service_name) (vllm:num_requests_waiting{{{SERVICE}}})"),
                   "{{service}}"),),
            "short", width=8, links=(TO_SERVICE, TO_TRACES),
        ),
        Panel(
            "Preemptions",
            "Requests that lost their place in memory and are done again.",
            (Query(named(f"sum by (service_namespace, service_name) ({rate('vllm:num_preemptions_total', SERVICE)})"),
                   "{{service}}"),),
            "cps", width=8, links=(TO_SERVICE, TO_TRACES),
        ),
    ),
)  # fmt: skip
NETWORK = Row(
    "Network of the hosts",
    (
        Panel(
            "Bytes sent and received",
            "Over all interfaces of a host but loopback.",
            tuple(
                Query(f"sum by (instance) ({rate(f'node_network_{way}_bytes_total', HOST, OUTWARD)})",
                      f"{{{{instance}}}} {said}")
                for way, said in (("transmit", "sent"), ("receive", "received"))
            ),
            "Bps", width=8,
        ),
        Panel(
            "Packets dropped",
            "Sent or received, by interface.",
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
            "Segments sent again",
            "Share of the TCP segments that a host sent.",
            (Query(f"{rate('node_netstat_Tcp_RetransSegs', HOST)} / ({rate('node_netstat_Tcp_OutSegs', HOST)} > 0)",
                   "{{instance}}"),),
            "percentunit", width=8,
        ),
    ),
)  # fmt: skip
ITSELF = Row(
    "foreshock itself",
    (
        Panel(
            "Parts of exporters that fail",
            "Collectors whose last run failed: what they read is absent or incomplete.",
            (Query(f"sum by (collector) (1 - foreshock_exporter_collector_success{{{HOST}}})", "{{collector}}"),),
            "short", width=8,
        ),
        Panel(
            "History",
            "What the hub's baselines rest on, as a share of what they need. Below 1 it is still learning.",
            (Query("foreshock_history_seconds / (foreshock_history_needed_seconds > 0)", "{{instance}}"),),
            "percentunit", width=8,
        ),
        Panel(
            "A tick takes",
            "Wall time of the hub's last tick. As long as the time between two ticks, and it falls behind.",
            (Query("foreshock_tick_seconds", "{{instance}}"),),
            "s", width=8,
        ),
    ),
)  # fmt: skip
FLEET = Board(
    uid="foreshock-fleet",
    title="foreshock: fleet",
    description="GPUs, model servers and networks of the fleet, and whether foreshock can see them.",
    page="/fleet",
    variables=(
        Variable("instance", "Host", "gpu_info", "instance"),
        Variable("service", "Service", "gpu_service_busy_seconds_total", "service_name"),
    ),
    rows=(NOW, GPUS, SERVERS, NETWORK, ITSELF),
)
