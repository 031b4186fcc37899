"""What a metric of any name measures: its kind, and the statistic that it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from foreshock_dashboard.model.explanation import SignalKind

MetricKind = SignalKind | Literal["success"]
_WORDS: tuple[tuple[MetricKind, str], ...] = (
    ("resource", r"(mem|memory|swap|disk|fs|filesystem)_?(avail|free)|avail[a-z]*_bytes"),
    ("success", r"(?<!un)availability|success"),
    ("availability", r"availab|(^|_)up$|healthy|(^|_)(not_?)?ready"),
    ("resource", r"retrans|drop.*(packet|pkt)|(packet|pkt).*(drop|loss|lost)"),
    ("resource", r"(network|(^|_)(net|nic|eth\d*|if)_).*(receive|transmit|rx|tx)_(err|drop|loss)"),
    ("errors", r"error|fail|fault|5xx|exception|abort|timeouts?(_|$)"),
    ("other", r"(start|boot|creat|modif|expir)[a-z]*_(time|date)|timestamp|(^|_)(created|uptime|age)(_|$)"),
    ("other", r"network.*(byte|packet)|(receive|transmit|rx|tx)_?(byte|packet)"),
    ("resource", r"(^|_)(cpu|gc|gpu|busy|idle|iowait|disk|fs|filesystem|io)(_|$)|throttl"),
    ("latency", r"latenc|duration|response_?time|elapsed|(^|_)rtt|delay|time_to|(^|_)time(_|$)"),
    ("resource", r"cpu|mem|rss|heap|disk|(^|_)fs|inode|thread|goroutine|(^|_)f?ds?(_|$)|conn|pool|socket|retrans"),
    (
        "resource",
        r"network|(^|_)net|byte|packet|restart|swap|load(1|5|15)|power|temp|clock|oom|evict|queue|cache|lock",
    ),
    ("latency", r"(^|_)(milli|micro)?seconds(_|$)|_(ms|us)$|(^|_)p(50|75|90|95|99)(_|$)"),
    ("traffic", r"request|responses|calls|quer(y|ies)|messages|tokens|events|received|sent|throughput"),
    ("traffic", r"(^|_)(load|qps|rps|hits|workload)"),
)
_UNAVAILABLE = re.compile(r"unavailab|unhealthy|(^|_)not_?ready")
_NUMBER = re.compile(
    r"(^|_)(connections?|connected|clients?|sessions?|threads?|goroutines|process(es)?|tasks|(open_)?fds?|files"
    r"|file_descriptors|sockets?|inodes(_\w+)?|count)(_|$)"
)
_MEASURE = re.compile(r"temp|celsius|percent|pct|util|clock|power|watt|bytes|seconds|hertz|mhz|ratio")
_SHARE = re.compile(r"(^|[_:])ratio([_:]|$)|utili[sz]ation")
_KINDS = tuple((kind, re.compile(pattern)) for kind, pattern in _WORDS)
STATISTIC_LABELS = ("quantile", "stat", "statistic", "percentile", "aggregation", "aggregate", "agg")
_STATISTIC = re.compile(
    r"(?:^|_)(p\d\d(?:_?\d)?|avg|average|mean|max|maximum|min|minimum|median|sum|samplecount|count)(?:_|$)"
)
_SAME = {"avg": "mean", "average": "mean", "median": "p50", "maximum": "max", "minimum": "min", "samplecount": "count"}
_STATUS_LABELS = (
    *("status_code", "http_response_status_code", "http_status_code", "status", "code", "response_code", "http_code"),
    *("grpc_status", "grpc_response_status", "grpc_code", "rpc_grpc_status_code", "rpc_response_status_code"),
    *("outcome", "result"),
)
_FAILED = re.compile(
    r"5\d\d|5xx|statuscodeerror|(server)?error|fail(ed|ure)?|exception"
    r"|unavailable|internal|aborted|deadlineexceeded|unknown|unimplemented|dataloss"
)
"""Values in lower case without separators: gRPC codes are DEADLINE_EXCEEDED or DeadlineExceeded."""
_GRPC_ERRORS = frozenset(("2", "4", "12", "13", "14", "15"))
"""Codes that are errors of a server in OpenTelemetry's semantic conventions for gRPC."""


def metric_kind(metric: str) -> MetricKind:
    """The kind of a metric by the words of its name; "success" is the complement of errors."""
    name = metric.lower()
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), "other")


def is_unavailability(metric: str) -> bool:
    """Whether more of a metric of availability is worse, such as the number of unavailable replicas."""
    return bool(_UNAVAILABLE.search(metric.lower()))


def is_number(metric: str) -> bool:
    """Whether a metric is a number of things that come and go, such as connections, files, or threads."""
    name = metric.lower()
    return bool(_NUMBER.search(name)) and not _MEASURE.search(name)


def is_share(metric: str) -> bool:
    """Whether a metric is a share of what there is, from 0 to 1."""
    return bool(_SHARE.search(metric.lower()))


def statistic(metric: str, labels: Mapping[str, str]) -> str:
    """The statistic that a gauge of a latency is: "mean", "p95", "max", …; "" if unknown."""
    for label in STATISTIC_LABELS:
        if text := labels.get(label, "").lower():
            if re.fullmatch(r"0?\.\d+", text):
                return f"p{round(float(text) * 1000) / 10:g}".replace(".", "")
            found = _STATISTIC.search(re.sub(r"[^a-z0-9]+", "_", text))
            return _SAME.get(found[1], found[1]) if found else text
    found = _STATISTIC.search(metric.lower())
    return _SAME.get(found[1], found[1]).replace("_", "") if found else ""


@lru_cache(maxsize=1_000)
def quantile_of(name: str) -> float | None:
    """The quantile, 0 to 1, that a statistic is; None for a mean or an unknown one."""
    if name == "max":
        return 0.999
    if not re.fullmatch(r"p\d\d+", name):
        return None
    return float(f"0.{name[1:]}")


def is_failure(labels: Mapping[str, str]) -> bool:
    """Whether a label of a series says that it counts failed requests: gRPC failures have HTTP status 200."""
    return any(_is_failed(label, labels[label]) for label in _STATUS_LABELS if label in labels)


def _is_failed(label: str, value: str) -> bool:
    if label.startswith(("grpc", "rpc")) and value.isdigit():
        return value in _GRPC_ERRORS
    return _FAILED.fullmatch(re.sub(r"[^a-z0-9]", "", value.lower())) is not None
