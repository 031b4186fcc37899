"""Model servers, by replica and by service: queries of vLLM, SGLang, TGI, and Triton, and rows of the World."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace

import numpy as np

from foreshock_dashboard.model.query import Matrix, Query
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified
from foreshock_dashboard.model.world_sections import ModelServers, Replica, UnjoinedServer
from foreshock_dashboard.world.row import (
    POD_LABELS,
    POD_NAMESPACE_LABELS,
    SERVICE_LABELS,
    TARGET_LABELS,
    Catalog,
    CatalogRow,
    LabelMap,
    Producer,
    RateWindows,
    Readings,
    row,
)
from foreshock_dashboard.world.row_math import ServiceNames, safe_ratio, service_of, service_of_job
from foreshock_dashboard.world.section import SPARE_NAMES, Grouping, Growth, Key, Section, Sections
from foreshock_dashboard.world.targets import Address, ServicePlaces, places_row, target_of

SERVICE_MODEL_LABELS = (*SERVICE_LABELS, "model_name")
_PLACE_LABELS = (*TARGET_LABELS, *POD_LABELS, *POD_NAMESPACE_LABELS)
SERVER_LABELS = (*_PLACE_LABELS, *SERVICE_MODEL_LABELS)
_TRITON_LABELS = (*_PLACE_LABELS, *SERVICE_LABELS, "model")
_TRITON_RENAMES = {"model": "model_name"}
_SECONDS_PER_MICROSECOND = 1e-6

GAUGE_READINGS = ("running", "waiting", "cache", "preempted", "finished", "prompt_tokens", "generated_tokens")
DURATION_READINGS = ("queued", "per_token", "answered")
ALL_READINGS = (*GAUGE_READINGS, *(f"{key}_{part}" for key in DURATION_READINGS for part in ("sum", "count")))
SERVICE_FIGURES = (*GAUGE_READINGS, "queued", "first_token", "per_token")
REPLICA_FIGURES = ("replica_busy", "replica_finished", "replica_seconds")


def readings(windows: RateWindows) -> Catalog:
    """Readings of queues, batches, caches, and latencies per server.

    Names: docs.vllm.ai/en/stable/usage/metrics, docs.sglang.io/references/production_metrics, TGI's reference of
    metrics, Triton's user guide of metrics. vLLM renamed gpu_cache_usage_perc to kv_cache_usage_perc and
    time_per_output_token to inter_token_latency. Cache usage is averaged over the engines of a data-parallel server.
    Servers behind one metrics endpoint are distinguished by their pods.
    """
    last, rate = windows.last, windows.rate

    def forms(query: Callable[..., Query], *metrics: str, scale: float = 1.0) -> tuple[Producer, ...]:
        return tuple(
            Producer(query(metric, _TRITON_LABELS), _TRITON_RENAMES, scale=scale)
            if metric.startswith("nv_")
            else Producer(query(metric, SERVER_LABELS))
            for metric in metrics
        )

    def reading(query: Callable[..., Query], lost: str, vllm: str, *others: str) -> CatalogRow:
        return row(lost, *forms(query, vllm), also=forms(query, *others))

    def durations(key: str, lost: str, vllm: tuple[str, ...], also: tuple[str, ...], triton: str = "") -> Catalog:
        """Sums of seconds and counts of requests, of histograms or of Triton's counters."""
        micros, counts = ((f"nv_inference_{triton}_duration_us",), (success,)) if triton else ((), ())
        more = {"sum": forms(rate, *micros, scale=_SECONDS_PER_MICROSECOND), "count": forms(rate, *counts)}
        return {
            f"{key}_{part}": row(
                lost,
                *forms(rate, *(f"{name}_{part}" for name in vllm)),
                also=(*forms(rate, *(f"{name}_{part}" for name in also)), *triton_forms),
            )
            for part, triton_forms in more.items()
        }

    success, engine, token = "nv_inference_request_success", (*SERVER_LABELS, "engine"), "time_to_first_token_seconds"
    vllm_token, sglang_token = (windows.buckets(f"{name}:{token}", SERVICE_MODEL_LABELS) for name in ("vllm", "sglang"))
    cache = (last(f"vllm:{name}_cache_usage_perc", engine) for name in ("kv", "gpu"))
    named: Catalog = {
        "running": reading(
            last,
            "running requests",
            "vllm:num_requests_running",
            *("sglang:num_running_reqs", "tgi_batch_current_size"),
        ),
        "waiting": reading(
            last,
            "queued requests",
            "vllm:num_requests_waiting",
            *("sglang:num_queue_reqs", "tgi_queue_size", "nv_inference_pending_request_count"),
        ),
        "cache": row("KV cache usage", *cache, also=forms(last, "sglang:token_usage")),
        "preempted": reading(rate, "preemptions", "vllm:num_preemptions_total"),
        "finished": reading(
            rate,
            "completed requests of model servers",
            "vllm:request_success_total",
            *("sglang:num_requests_total", "tgi_request_success", success),
        ),
        "prompt_tokens": reading(
            rate,
            "prompt length",
            "vllm:prompt_tokens_total",
            *("sglang:prompt_tokens_total", "tgi_request_input_length_sum"),
        ),
        "generated_tokens": reading(
            rate,
            "output length",
            "vllm:generation_tokens_total",
            *("sglang:generation_tokens_total", "tgi_request_generated_tokens_sum"),
        ),
        "first_token_seconds": row("TTFT", vllm_token, also=(sglang_token,)),
        **durations(
            "queued",
            "queue time",
            ("vllm:request_queue_time_seconds",),
            ("sglang:queue_time_seconds", "tgi_request_queue_duration"),
            "queue",
        ),
        **durations(
            "per_token",
            "TPOT",
            ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
            ("sglang:inter_token_latency_seconds", "tgi_request_mean_time_per_token_duration"),
        ),
        **durations(
            "answered",
            "latency by replica",
            ("vllm:e2e_request_latency_seconds",),
            ("sglang:e2e_request_latency_seconds", "tgi_request_duration"),
            "request",
        ),
    }
    return {key: with_escaped_names(known) for key, known in named.items()} | {"places": places_row(windows)}


def with_escaped_names(known: CatalogRow) -> CatalogRow:
    """The row with a further form for each name with a colon, which some exporters and Collectors serve as `_`."""
    ways, also = (
        (
            *forms,
            *(
                replace(form, query=replace(form.query, metric=form.query.metric.replace(":", "_")))
                for form in forms
                if ":" in form.query.metric
            ),
        )
        for forms in (known.ways, known.also)
    )
    return replace(known, ways=ways, also=also)


class ModelServerRows:
    """Rows of replicas and of their services. A replica that is gone has no values.

    A server belongs to the service that its labels name, else to the one that answers in its pod or at its address,
    else to the known one named like the pod's workload, its model, or its job, unless that is in another namespace.
    Otherwise it is a service by itself, named after its model.

    Args:
        places: which service answers where.
        workload_of: maps the labels of a pod to the name of its workload.
    """

    def __init__(self, sections: Sections, places: ServicePlaces, workload_of: Callable[[LabelMap], str]) -> None:
        self._places, self._workload_of = places, workload_of
        self.replicas = Section(sections, tuple, self._replica, while_up=True)
        self.services = Section(sections, tuple, self._service_of_model, copies=True)
        self._service_of_replica = Grouping(self.replicas, self.services, lambda replica: replica.service)
        self._gauges = False  # whether any server reports its queue or batch
        self._known: Set[Service] = frozenset()
        self._names = ServiceNames()
        self._labels: dict[Replica, LabelMap] = {}
        self._by_target: dict[Address, set[Service]] = {}
        self._by_model: dict[tuple[str, str], set[Service]] = {}  # by cluster, where series name no service

    def update(self, readings: Readings, since: float, known: Set[Service], moved: bool) -> bool:
        """Register the entities of new readings; return whether services moved to other targets.

        known: services that servers may belong to. moved: places or workloads changed.
        """
        before = _copied(self._by_target), _copied(self._by_model)
        names = len(self._by_target) + len(self._by_model)
        if moved or known != self._known or names > 2 * len(self.replicas.keys) + SPARE_NAMES:
            self._known, self._names = known, ServiceNames(known)
            self._join_again()
        self.replicas.register(readings, ALL_READINGS, since)
        self._service_of_replica.update()
        if before[1] != self._by_model:
            self.services.forget()
        if len(self._labels) > 2 * len(self.replicas.keys) + SPARE_NAMES:
            self._labels = {key: self._labels[key] for key in self.replicas.keys if key in self._labels}
        return before[0] != self._by_target

    def service_at(self, labels: LabelMap) -> Service | None:
        """The only service of the model servers of a series' target; None without one."""
        services = self._by_target.get(target_of(labels), ())
        return next(iter(services)) if len(services) == 1 else None

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        rows = {key: self.replicas.rows(key, readings[key]) for key in ALL_READINGS}
        gauges = ~np.isnan(rows["running"]) | ~np.isnan(rows["waiting"])
        self._gauges = self._gauges or bool(gauges.any())
        if self._gauges:  # rates fade for a window after a replica is gone; its gauges end at once
            rows = {key: np.where(gauges, values, np.nan) for key, values in rows.items()}
        cache = readings["cache"]  # averaged over the engines of a replica
        engines = Matrix(cache.times, cache.labels, np.where(np.isnan(cache.values), np.nan, 1.0))
        rows["cache"] = safe_ratio(rows["cache"], self.replicas.rows("cache", engines))
        total = {key: self._service_of_replica.sums(values) for key, values in rows.items()}
        caches = self._service_of_replica.sums((~np.isnan(rows["cache"])).astype(np.float64))
        busy = np.where(gauges, np.nan_to_num(rows["running"]) + np.nan_to_num(rows["waiting"]), np.nan)
        by_service = {
            **{key: total[key] for key in GAUGE_READINGS},
            "cache": safe_ratio(total["cache"], caches),
            "queued": safe_ratio(total["queued_sum"], total["queued_count"]),
            "per_token": safe_ratio(total["per_token_sum"], total["per_token_count"]),
            "first_token": self.services.rows("first_token_p95", readings["first_token_p95"]),
        }
        seconds = safe_ratio(rows["answered_sum"], rows["answered_count"])
        by_replica = dict(zip(REPLICA_FIGURES, (busy, rows["finished"], seconds), strict=True))
        return [(self.services, by_service), (self.replicas, by_replica)]

    def model_servers(self) -> ModelServers | None:
        """Model servers; None without replicas."""
        if not self.replicas.keys:
            return None
        return ModelServers(
            services=self.services.keys,
            replicas=self.replicas.keys,
            **{key: self.services[key] for key in SERVICE_FIGURES},
            **{key: self.replicas[key] for key in REPLICA_FIGURES},
        )

    def unjoined(self) -> tuple[UnjoinedServer, ...]:
        """Servers that belong to no known service, by name; none where no service is known."""
        rows = []
        for replica in self.replicas.keys if self._known else ():
            labels = self._labels.get(replica, {})
            if labels and replica.service not in self._known and not self._joined(labels):
                job, instance, model = (labels.get(name, "") for name in (*TARGET_LABELS, "model_name"))
                by_name = (self._names.named(*name) for name in self._names_of(labels))
                candidates = self._places.services_at(labels) or next(filter(None, by_name), ())
                rows.append(UnjoinedServer(replica, job, instance, model, candidates))
        return tuple(rows)

    def _join_again(self) -> None:
        """Give the replicas and services the names that they have now.

        A service whose replicas are now of several loses its history, which is that of none of them.
        """
        labels = {key: self._labels[key] for key in self.replicas.keys if key in self._labels}
        self._labels, self._by_target, self._by_model = {}, {}, {}
        renamed = {key: self._replica(named) for key, named in labels.items()}
        services: dict[Service, set[Service]] = {}
        for key in self.replicas.keys:
            services.setdefault(key.service, set()).add(renamed.get(key, key).service)
        self.replicas.forget()
        self.services.forget()
        self.replicas.rename(lambda key: renamed.get(key, key))
        whole = {key: next(iter(new)) for key, new in services.items() if len(new) == 1}
        self.services.set_keys(key for key in self.services.keys if key in whole or key not in services)
        self.services.rename(lambda key: whole.get(key, key))

    def _joined(self, labels: LabelMap) -> Service | None:
        """The service that a server surely or by its names belongs to; None if there is none."""
        if service := service_of(labels) or self._places.service_at(labels):
            return service
        found = (self._names.find_certain(*name) for name in self._names_of(labels))
        return next(filter(None, found), None)

    def _names_of(self, labels: LabelMap) -> list[tuple[str, str]]:
        """Namespace and name by which a server may be known: of its workload, its model, and its job.

        Names of many servers, such as the job `vllm`, come last. None is of another namespace than the pod.
        """
        pod, namespace = (
            next(filter(None, map(labels.get, names)), "") for names in (POD_LABELS, POD_NAMESPACE_LABELS)
        )
        workload = self._workload_of({"pod": pod, "namespace": namespace}) if pod else ""
        job = service_of_job(labels) or Service("", "")
        model, namespace = labels.get("model_name", ""), namespace or _in_cluster(labels)
        names = ((namespace, workload), (namespace, model), job if job.local.namespace else (namespace, job.name))
        return [name for name in names if name[1]]

    def _replica(self, labels: LabelMap) -> Replica:
        """Replica by pod where known: one target can report several, and cache usage must not be summed."""
        model = labels.get("model_name", "")
        service = self._joined(labels) or Service(_in_cluster(labels), model or labels.get("job", ""))
        if not service_of(labels):
            self._by_model.setdefault((_in_cluster(labels), model), set()).add(service)
        pod = next(filter(None, (labels.get(name) for name in POD_LABELS)), "")
        replica = Replica(service, pod or labels.get("instance", ""))
        self._labels.setdefault(replica, labels)
        self._by_target.setdefault(target_of(labels), set()).add(service)
        return replica

    def _service_of_model(self, labels: LabelMap) -> Service | None:
        """Service of a series that names no target: by its labels, else the only one whose servers run its model."""
        model = labels.get("model_name", "")
        services = self._by_model.get((_in_cluster(labels), model), ())
        return service_of(labels) or (next(iter(services)) if len(services) == 1 else None)


def _in_cluster(labels: LabelMap) -> str:
    """The namespace of what has none, in the cluster of a series."""
    return qualified(labels.get(CLUSTER_LABEL, ""), "")


def _copied(services: Mapping[Key, Set[Service]]) -> dict[Key, frozenset[Service]]:
    return {key: frozenset(found) for key, found in services.items()}
