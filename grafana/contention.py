"""The board of contention: which service waits for which on shared GPUs, and what its callers feel of it."""

from __future__ import annotations

from grafana.board import Board, Link, Panel, Query, Row, Variable
from grafana.fleet import GPU, INCIDENTS
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
OF_ROW = Link("This pair's page", PAIR_PAGE % ("${__data.fields.Waits:raw}", "${__data.fields.For:raw}"))
OF_SERIES = Link("This pair's page", PAIR_PAGE % ("${__field.labels.service:raw}", "${__field.labels.aggressor:raw}"))
SERVICE_LINKS = (TO_SERVICE, TO_TRACES)


def pairs(expr: str) -> str:
    """A series of every pair, with `service` and `aggressor` as one label each."""
    return named(named(expr), "aggressor", "aggressor_namespace", "aggressor_name")


WAITING = Row(
    "Who waits for whom",
    (
        Panel(
            "Pairs",
            "Share of GPU time that a service waits for another, at most, as the hub judges it: the mean over the GPUs "
            "that they share.",
            (
                Query(
                    "sort_desc(max by (victim, aggressor, pool) (foreshock_contention_stalled_ratio"
                    '{victim=~"(.*/)?($service)",aggressor=~"(.*/)?($aggressor)"}))'
                ),
            ),
            "percentunit", "table", 8, 9,
            links=(OF_ROW,),
            columns={"victim": "Waits", "aggressor": "For", "pool": "Pool", "Value": "Share of time"},
        ),
        Panel(
            "Time that a service waits for another",
            "Share of time on the GPU where it is worst. An estimate, and an upper bound.",
            (
                Query(
                    pairs(
                        f"max by ({PAIRS}) (sum by (instance, uuid, {PAIRS}) "
                        f"({rate('gpu_service_wait_by_aggressor_seconds_total', HOST, SERVICE, BY)}))"
                    ),
                    "{{service}} for {{aggressor}}",
                ),
            ),
            "percentunit", width=8, height=9, most=1, links=(OF_SERIES,),
        ),
        Panel(
            "Slow-down of services",
            "The p95 over its median of the hour before; 1 is as usual.",
            (Query(named(f"service:request_duration:slowdown_ratio{{{SERVICE}}}"), "{{service}}"),),
            "none", width=8, height=9, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
SHARES = Row(
    "Who has the GPUs",
    (
        Panel(
            "GPU time by service",
            "Sum over GPUs: 2 is two GPUs kept busy.",
            (
                Query(named(f"sum by ({BY_SERVICE}) ({rate('gpu_service_busy_seconds_total', HOST)})"), "{{service}}"),
                Query(f"sum({rate('gpu_unattributed_busy_seconds_total', HOST)})", "(unattributed)"),
            ),
            "short", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "GPU memory by service",
            "Device memory that the processes of each service hold.",
            (Query(named(f"sum by ({BY_SERVICE}) (gpu_service_memory_used_bytes{{{HOST}}})"), "{{service}}"),),
            "bytes", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "Contended GPUs",
            "Share of time at 90 % busy or more with two services active. Absent under MPS and MIG.",
            (Query(rate("gpu_contended_seconds_total", HOST), GPU),),
            "percentunit", width=8, most=1,
        ),
        Panel(
            "Services on each GPU",
            "How long each ran and waited over the last minutes, as a share of time.",
            tuple(
                Query(named(f"sum by (instance, gpu, {BY_SERVICE}) ({rate(metric, HOST)})"), name=name)
                for name, metric in (
                    ("ran", "gpu_service_busy_seconds_total"), ("waited", "gpu_service_wait_seconds_total"),
                )
            ),
            "percentunit", "table", 24, 8,
            links=(Link("The service's page", "${hub:raw}/services/${__data.fields.Service:raw}?" + TIME),),
            columns={
                "instance": "Host", "gpu": "GPU", "service": "Service", "Value #ran": "Ran", "Value #waited": "Waited",
            },
        ),
    ),
)  # fmt: skip
FELT = Row(
    "What its callers feel",
    (
        Panel(
            "p95 of requests",
            "As the service itself measured them. A dot is one request: follow it to its trace.",
            (
                Query(
                    named(p95("traces_span_metrics_duration_seconds", BY_SERVICE, SERVICE, SERVED)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "p95 until the first token",
            "As the callers of model servers saw it. A dot is one request: follow it to its trace.",
            (
                Query(
                    named(p95("foreshock_llm_time_to_first_token_seconds", BY_SERVICE, SERVICE)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "p95 in the queue of a model server",
            "From arrival until the first of its tokens is computed. A dot is one request: follow it to its trace.",
            (
                Query(
                    named(p95("foreshock_llm_queue_seconds", BY_SERVICE, SERVICE)), "{{service}}", exemplars=True,
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
CONTENTION = Board(
    uid="foreshock-contention",
    title="foreshock: contention",
    description="Which service waits for which on shared GPUs, who has them, and what callers feel of it.",
    page="/contention",
    variables=(
        Variable("instance", "Host", "gpu_info", "instance"),
        Variable("service", "Service", "gpu_service_busy_seconds_total", "service_name"),
        Variable("aggressor", "Neighbour", "gpu_service_wait_by_aggressor_seconds_total", "aggressor_name"),
    ),
    rows=(WAITING, SHARES, FELT, Row("Incidents", (INCIDENTS,))),
)
