"""The board of a fleet: who waits for whom on shared GPUs, and what the fleet does meanwhile."""

from __future__ import annotations

from grafana.board import Board, Panel, Query, Row, Variable

HOST = 'instance=~"$instance"'
SERVICE = 'service_name=~"$service"'
SERVED = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
PAIR = "{{service_name}} waits for {{by_service_name}}"
GPU = "{{instance}} gpu {{gpu}}"
SEVERE: tuple[tuple[float, str], ...] = ((1, "red"),)

FLEET = Board(
    uid="foreshock-fleet",
    title="foreshock: fleet and contention",
    description="Which service waits for which on shared GPUs, and what the fleet does meanwhile.",
    variables=(
        Variable("instance", "Host", "gpu_info", "instance"),
        Variable("service", "Service", "gpu_service_busy_seconds_total", "service_name"),
    ),
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Open incidents",
                    "Incidents that the hub has open. 0 is only good news while the hub answers.",
                    (
                        Query(
                            "count(max without (instance, job) (foreshock_incident))"
                            " or 0 * sum(foreshock_tick_failed)"
                        ),
                    ),
                    "short", "stat", 4, 4, SEVERE,
                ),
                Panel(
                    "GPUs that answer",
                    "GPUs that answered the last sample.",
                    (Query(f"sum(gpu_present{{{HOST}}})"),),
                    "short", "stat", 4, 4,
                ),
                Panel(
                    "GPUs lost",
                    "GPUs that were seen and no longer answer.",
                    (Query(f"sum(gpu_expected{{{HOST}}}) - sum(gpu_present{{{HOST}}})"),),
                    "short", "stat", 4, 4, SEVERE,
                ),
                Panel(
                    "Exporters that do not answer",
                    "Targets of the job foreshock-exporter that Prometheus cannot scrape.",
                    (Query('count(up{job="foreshock-exporter"} == 0) or 0 * count(up{job="foreshock-exporter"})'),),
                    "short", "stat", 4, 4, SEVERE,
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
                    "short", "stat", 4, 4, SEVERE,
                ),
                Panel(
                    "Incidents",
                    "Who starves whom, as the hub found it.",
                    (Query("max without (instance, job) (foreshock_incident)"),),
                    "short", "table", 24, 6,
                ),
            ),
        ),
        Row(
            "Who waits for whom",
            (
                Panel(
                    "Time that a service waits for another",
                    "Share of time on the GPU where it is worst. An estimate, and an upper bound.",
                    (
                        Query(
                            "max by (service_name, by_service_name) (rate(gpu_service_stalled_by_seconds_total"
                            f'{{{HOST},{SERVICE},by_service_name!=""}}[$__rate_interval]))',
                            PAIR,
                        ),
                    ),
                    "percentunit", most=1,
                ),
                Panel(
                    "Slow-down of services",
                    "The p95 over its median of the hour before; 1 is as usual.",
                    (Query(f"service:request_duration:slowdown_ratio{{{SERVICE}}}", "{{service_name}}"),),
                    "short",
                ),
                Panel(
                    "GPU time by service",
                    "Sum over GPUs: 2 is two GPUs kept busy.",
                    (
                        Query(
                            "sum by (service_name) (rate(gpu_service_busy_seconds_total"
                            f"{{{HOST},{SERVICE}}}[$__rate_interval]))",
                            "{{service_name}}",
                        ),
                        Query(
                            f"sum(rate(gpu_unattributed_busy_seconds_total{{{HOST}}}[$__rate_interval]))",
                            "(unattributed)",
                        ),
                    ),
                    "short",
                ),
                Panel(
                    "GPU memory by service",
                    "Device memory that the processes of each service hold.",
                    (
                        Query(
                            f"sum by (service_name) (gpu_service_memory_used_bytes{{{HOST},{SERVICE}}})",
                            "{{service_name}}",
                        ),
                    ),
                    "bytes",
                ),
            ),
        ),
        Row(
            "Services and the calls between them",
            (
                Panel(
                    "p95 of requests",
                    "As the service itself measured them.",
                    (
                        Query(
                            "histogram_quantile(0.95, sum by (service_name, le) (rate("
                            f"traces_span_metrics_duration_seconds_bucket{{{SERVICE},{SERVED}}}[$__rate_interval])))",
                            "{{service_name}}",
                        ),
                    ),
                    "s", width=8,
                ),
                Panel(
                    "Requests that fail",
                    "Share of the requests that each service served.",
                    (Query(f"service:errors:ratio_rate5m{{{SERVICE}}}", "{{service_name}}"),),
                    "percentunit", width=8, most=1,
                ),
                Panel(
                    "Retry amplification",
                    "Requests sent for each one that was meant; 1 is no retry.",
                    (Query("client_server:request_amplification:ratio_rate5m", "{{client}} to {{server}}"),),
                    "short", width=8,
                ),
            ),
        ),
        Row(
            "GPUs",
            (
                Panel(
                    "Busy",
                    "Share of time during which a kernel ran; no burst escapes.",
                    (Query(f"rate(gpu_busy_seconds_total{{{HOST}}}[$__rate_interval])", GPU),),
                    "percentunit", most=1,
                ),
                Panel(
                    "Contended",
                    "Share of time at 90 % busy or more with two services active. Absent under MPS and MIG.",
                    (Query(f"rate(gpu_contended_seconds_total{{{HOST}}}[$__rate_interval])", GPU),),
                    "percentunit", most=1,
                ),
                Panel(
                    "Memory in use",
                    "Share of device memory. Inference servers take what they are told to: high is no alarm.",
                    (Query(f"gpu_memory_used_bytes{{{HOST}}} / (gpu_memory_total_bytes{{{HOST}}} > 0)", GPU),),
                    "percentunit", width=8, most=1,
                ),
                Panel(
                    "Power", "Power drawn.", (Query(f"gpu_power_watts{{{HOST}}}", GPU),), "watt", width=8,
                ),
                Panel(
                    "Temperature",
                    "Of the GPU's core.",
                    (Query(f'gpu_temperature_celsius{{{HOST},sensor="gpu"}}', GPU),),
                    "celsius", width=8,
                ),
            ),
        ),
        Row(
            "Network of the hosts",
            (
                Panel(
                    "Bytes sent and received",
                    "Over all interfaces of a host but loopback.",
                    (
                        Query(
                            "sum by (instance) (rate(node_network_transmit_bytes_total"
                            f'{{{HOST},device!="lo"}}[$__rate_interval]))',
                            "{{instance}} sent",
                        ),
                        Query(
                            "sum by (instance) (rate(node_network_receive_bytes_total"
                            f'{{{HOST},device!="lo"}}[$__rate_interval]))',
                            "{{instance}} received",
                        ),
                    ),
                    "Bps",
                ),
                Panel(
                    "Packets dropped",
                    "Sent or received, by interface.",
                    (
                        Query(
                            f"rate(node_network_receive_drop_total{{{HOST}}}[$__rate_interval]) + "
                            f"rate(node_network_transmit_drop_total{{{HOST}}}[$__rate_interval])",
                            "{{instance}} {{device}}",
                        ),
                    ),
                    "pps",
                ),
            ),
        ),
    ),
)  # fmt: skip
