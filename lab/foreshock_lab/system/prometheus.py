"""A Prometheus that scrapes a system as an operator would, and keeps what the analysis can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from foreshock_lab.system.process import Process, listens

PORT = 9090
URL = f"http://127.0.0.1:{PORT}"
KEPT = (
    "up|traces_.*|foreshock_(retry_attempts|fallback_calls|llm)_.*|vllm:.*|container_.*|kube_.*|kubelet_volume_.*|db_client_.*|"
    "process_(cpu_seconds_total|resident_memory_bytes|open_fds|max_fds|start_time_seconds)|nodejs_eventloop_lag_p99_seconds|"
    "pg_up|pg_stat_activity_(count|max_tx_duration)|pg_locks_count|pg_settings_max_connections|"
    "pg_stat_database_(xact_commit|xact_rollback|blks_read|blks_hit|tup_returned|tup_updated|deadlocks|temp_bytes)|"
    "pg_database_size_bytes|redis_(up|connected_clients|blocked_clients|memory_used_bytes|memory_max_bytes|"
    "keyspace_hits_total|keyspace_misses_total|evicted_keys_total|commands_processed_total|db_keys)|"
    "node_(load1|memory_MemAvailable_bytes|memory_MemTotal_bytes|netstat_Tcp_(OutSegs|RetransSegs)|"
    "netstat_TcpExt_TCPTimeouts|uname_info)"
)
"""Names of metrics that are stored; exporters have a thousand more."""
DROPPED_SERIES = "pg_.*;template.*;|pg_locks_count;;|redis_db_keys;;db[1-9].*"
"""Metric and database of series about nothing."""


class Target(NamedTuple):
    """Something to scrape: job, address with port, and labels."""

    job: str
    address: str
    labels: Mapping[str, str]


def make_prometheus(targets: Sequence[Target], interval: float, folder: Path) -> Process:
    """Prometheus with its configuration, not yet started."""
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(configuration(targets, interval)))
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
        "--log.level=warn",
    ]
    return Process("prometheus", command, {}, folder, lambda: listens("127.0.0.1", PORT), memory=1 << 30)


def configuration(targets: Sequence[Target], interval: float) -> dict[str, Any]:
    """The content of `prometheus.yml`; interval in seconds."""
    jobs: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        jobs.setdefault(target.job, []).append({"targets": [target.address], "labels": dict(target.labels)})
    kept = [
        {"source_labels": ["__name__"], "regex": KEPT, "action": "keep"},
        {"source_labels": ["__name__", "datname", "db"], "regex": DROPPED_SERIES, "action": "drop"},
        {"source_labels": ["__name__"], "regex": ".*_created", "action": "drop"},
    ]
    return {
        "global": {"scrape_interval": f"{interval:g}s", "scrape_timeout": f"{min(interval, 8):g}s"},
        "scrape_configs": [
            {"job_name": job, "honor_labels": True, "static_configs": statics, "metric_relabel_configs": kept}
            for job, statics in jobs.items()
        ],
    }
